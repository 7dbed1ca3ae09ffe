import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.format.errors import HeadraceError
from trainer.model.sizes import ModelConfig
from trainer.objective.config import TargetConfig
from trainer.objective.targets.choose import choose
from trainer.objective.targets.tokens import Tokens
from trainer.pixels import normalise

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.(trace|save|load):FutureWarning")

SHAPE = ModelConfig(image_size=12, patch_size=3, embed_dim=16, depth=1, num_heads=2)
CPU, K = torch.device("cpu"), 16


class Brightness(nn.Module):
    """A token is how bright `side` x `side` pixels are, in tenths."""

    def __init__(self, side):
        super().__init__()
        self.average = nn.Conv2d(3, 1, side, side, bias=False)
        nn.init.constant_(self.average.weight, 1 / (3 * side**2))

    def forward(self, x):
        return (self.average(x) * 9.999).long().flatten(1)


def saved(tmp_path, module, size):
    path = tmp_path / "tokenizer.pt"
    torch.jit.trace(module, torch.rand(3, 3, size, size)).save(str(path))
    return str(path)


def target(path, size, vocabulary=10):
    fields = {"tokenizer": path, "tokenizer_size": size, "vocabulary": vocabulary}
    return choose(TargetConfig(kind="tokens", **fields), SHAPE)


def pixels(count=5):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 12, 12), generator=generator, dtype=torch.uint8)


def literal(images):
    return (F.avg_pool2d(images.double() / 255, 3).mean(dim=1) * 9.999).long().flatten(1)


def test_tokens_are_what_the_module_calls_the_wanted_patches_of_the_stored_pixels(tmp_path):
    tokens, images = target(saved(tmp_path, Brightness(3), 12), 12), pixels()
    wanted = torch.tensor([79, 0, 20])
    found = tokens.wanted_values(normalise(images, CPU), wanted)
    assert found.tolist() == literal(images).flatten()[wanted].tolist()
    assert (tokens.outputs, found.dtype) == (10, torch.int64)


def test_images_are_resized_so_that_the_grids_are_equal(tmp_path):
    tokens = target(saved(tmp_path, Brightness(8), 32), 32)
    flat = torch.linspace(0, 255, 5).to(torch.uint8)[:, None, None, None].expand(5, 3, 12, 12)
    ids = tokens.ids(normalise(flat, CPU))
    assert ids.shape == (5, K)
    assert ids.tolist() == literal(flat).tolist()


def test_half_precision_around_it_changes_no_token(tmp_path):
    path = saved(tmp_path, Brightness(3), 12)
    exact = target(path, 12).ids(normalise(pixels(200), CPU))
    fresh = Tokens(torch.jit.load(path), 10, 12, "")  # what was run before keeps its precision
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fresh.ids(normalise(pixels(200), CPU)), exact)


def test_the_tokenizer_is_frozen(tmp_path):
    def kept(_):
        raise AssertionError("kept for a backward pass")

    tokens = target(saved(tmp_path, Brightness(3), 12), 12)
    with torch.autograd.graph.saved_tensors_hooks(kept, kept):
        tokens.ids(normalise(pixels(), CPU))


def test_the_loss_is_the_negative_log_likelihood_of_the_token(tmp_path):
    tokens = target(saved(tmp_path, Brightness(3), 12), 12)
    predictions = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    values = torch.tensor([3, 9, 0, 3])
    expected = -predictions.softmax(dim=1)[range(4), values].log()
    torch.testing.assert_close(tokens.losses(predictions, values), expected)
    with pytest.raises(ValueError, match="no pixels"):
        tokens.paint(predictions, torch.zeros(1, 3, 12, 12), values)


@pytest.mark.parametrize(
    ("side", "size", "vocabulary", "words"),
    [
        (4, 12, 10, r"gives \(2, 9\) ids for 2 images of 16 patches; mend .*tokenizer_size 12"),
        (3, 2, 10, r"fails on images \(2, 3, 2, 2\)"),
        (3, 12, 9, "gives ids up to 9; mend objective.target.vocabulary 9"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_refused(tmp_path, side, size, vocabulary, words):
    path = saved(tmp_path, Brightness(side), 12)
    with pytest.raises(
        HeadraceError, match=rf"objective.target.tokenizer: .*tokenizer.pt: {words}"
    ):
        target(path, size, vocabulary)


def test_an_id_beyond_the_vocabulary_is_named_where_it_is_met(tmp_path):
    tokens = target(saved(tmp_path, Brightness(3), 12), 12)
    with pytest.raises(HeadraceError, match=r"beyond objective\.target\.vocabulary 10; raise it"):
        tokens.losses(torch.zeros(2, 10), torch.tensor([3, 10]))


def test_what_is_no_module_is_refused(tmp_path):
    path = tmp_path / "tokenizer.pt"
    for write in (lambda: path.write_bytes(b"rubbish"), lambda: torch.save({"a": 1}, path)):
        write()
        with pytest.raises(HeadraceError, match="not a TorchScript module"):
            target(str(path), 12)


def test_another_tokenizer_has_another_digest(tmp_path):
    one = target(saved(tmp_path, Brightness(3), 12), 12).digest
    assert one != target(saved(tmp_path, Brightness(1), 4), 4).digest
