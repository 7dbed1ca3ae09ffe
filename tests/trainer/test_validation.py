import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from pipeline.format.images import decode
from pipeline.format.shards import of_snapshot
from tests.trainer.objective import dense
from trainer import distributed
from trainer.config import TrainConfig
from trainer.distributed import World
from trainer.model.aim import AIM
from trainer.model.orders import order
from trainer.model.sizes import ModelConfig
from trainer.objective import fixed, masks, prefixes
from trainer.objective.config import ObjectiveConfig
from trainer.objective.objective import Objective
from trainer.objective.task import predict_next
from trainer.pictures import SCALE
from trainer.pixels import normalise
from trainer.stream.augment import evaluation_view
from trainer.stream.source import Source
from trainer.validation import PICTURED, Validation

CPU = torch.device("cpu")
CONFIG = ModelConfig(
    image_size=12, patch_size=3, embed_dim=16, depth=2, num_heads=2, head_width=8, head_depth=1
)
K, CHUNKS = CONFIG.num_patches, 8  # of two positions each
SEED, ZERO = fixed.SEED, np.array([0])


def objective(seed=0, **fields):
    return Objective(ObjectiveConfig(**fields), CONFIG, seed)


def tiny(chosen):
    config = chosen.config
    model = AIM(CONFIG, chosen.outputs, config.order, mask_token=config.kind == "masked")
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return model


@pytest.fixture(scope="module")
def model():
    return tiny(objective())


def validation(web, world, batch, chosen=None):
    source = Source("validation", of_snapshot(web))
    return Validation(source, world, chosen or objective(), batch, CONFIG.image_size)


def unasked():
    """A poll that has nothing to say."""


def sums_of(web, model, monkeypatch, rank, ranks, batch):
    """Loss sum and count of each form and chunk on one rank, before they are added up."""
    seen = []

    def total(value):
        seen.append(value)
        return torch.ones_like(value)

    monkeypatch.setattr(distributed, "total", total)
    validation(web, World(rank, ranks, CPU), batch).losses(model, unasked)
    return seen[0]


def images_of(web):
    """(sample, image) one by one."""
    for record in Source("validation", of_snapshot(web)).records(0, 23):
        view = torch.from_numpy(evaluation_view(decode(record.image), 12).copy()).permute(2, 0, 1)
        yield record.sample, normalise(view[None], CPU)


@torch.no_grad()
def literal_errors(web, model, prefix_of, kind="raster"):
    """(23, K) error of each position's patch, nan where none counts, one image after the other."""
    errors = torch.full((23, K), torch.nan)
    for sample, image in images_of(web):
        prefix = prefix_of(sample)
        truth = dense.normalised(image, CONFIG.patch_size)[:, order(kind, CONFIG.grid_size)]
        predictions = model(image, torch.tensor([prefix]))
        error = (predictions[0, :-1] - truth[0, 1:]).square().mean(dim=1)
        errors[sample, prefix:] = error[prefix - 1 :]
    return errors


def fixed_prefix(sample):
    return int(prefixes.independent(SEED, 0, np.array([sample]), ZERO, K)[0])


@pytest.mark.parametrize("batch", [1, 7, 23, 100])
def test_the_losses_are_those_of_one_image_after_the_other_whatever_the_batch(
    world, web, model, batch
):
    means, curve = validation(web, world, batch).losses(model, unasked)
    causal = literal_errors(web, model, lambda sample: 1)
    assert means["causal"] == pytest.approx(causal.nanmean().item(), rel=1e-5)
    prefix = literal_errors(web, model, fixed_prefix).nanmean().item()
    assert means["prefix"] == pytest.approx(prefix, rel=1e-5)
    assert means.keys() == {"causal", "prefix"}
    assert means["causal"] != means["prefix"]
    chunks = causal.unflatten(1, (CHUNKS, K // CHUNKS)).transpose(0, 1).flatten(1)
    assert curve == pytest.approx(chunks.nanmean(dim=1).tolist(), rel=1e-5)


def test_the_curve_follows_the_order_that_patches_are_read_in(world, web):
    chosen = objective(order="spiral")
    model = tiny(chosen)
    curve = validation(web, world, 10, chosen).losses(model, unasked).curve
    causal = literal_errors(web, model, lambda sample: 1, "spiral")
    chunks = causal.unflatten(1, (CHUNKS, K // CHUNKS)).transpose(0, 1).flatten(1)
    assert curve == pytest.approx(chunks.nanmean(dim=1).tolist(), rel=1e-5)


@pytest.mark.parametrize(("grid", "counts"), [(2, [1, 2]), (3, [2, 2, 2, 2]), (8, [3] + [4] * 15)])
def test_a_curve_has_sixteen_chunks_or_as_many_as_leave_none_empty(web, monkeypatch, grid, counts):
    shape = CONFIG.model_copy(update={"image_size": 24, "patch_size": 24 // grid})
    chosen = Objective(ObjectiveConfig(), shape, 0)
    seen = []
    monkeypatch.setattr(distributed, "total", lambda value: seen.append(value) or value)
    source = Source("validation", of_snapshot(web))
    Validation(source, World(0, 1, CPU), chosen, 23, shape.image_size).losses(AIM(shape), unasked)
    assert (seen[0][0, :, 1] / 23).tolist() == counts


def test_the_forms_count_all_they_should_and_no_padding(web, model, monkeypatch):
    causal, prefix = sums_of(web, model, monkeypatch, 0, 1, 10)[..., 1].sum(dim=1).tolist()
    assert causal == 23 * (K - 1)
    assert prefix == sum(K - fixed_prefix(sample) for sample in range(23))


def test_a_form_that_asks_nothing_is_an_error_and_no_nan(world, web, model, monkeypatch):
    """As in the official code: a mask for full attention is the one that chooses targets, too."""

    def nothing(chosen, samples, real):
        return [predict_next(np.full(len(samples), K), chosen.order, padded=True)] * 2

    monkeypatch.setattr(fixed, "asked", nothing)
    with pytest.raises(ValueError, match="form causal asks nothing"):
        validation(web, world, 10).losses(model, unasked)


@torch.no_grad()
def test_a_masked_objective_is_validated_with_each_samples_own_mask(world, web):
    chosen = objective(kind="masked", mask_ratio=0.75)
    model, errors = tiny(chosen), []
    means, curve = validation(web, world, 10, chosen).losses(model, unasked)
    for sample, image in images_of(web):
        masked = torch.from_numpy(masks.chosen(SEED, 0, np.array([sample]), ZERO, K, 12))
        predictions = model(image, torch.tensor([K]), None, masked)
        error = (predictions - dense.normalised(image, CONFIG.patch_size)).square().mean(-1)
        errors.append(error[masked])
    assert means == {"masked": pytest.approx(torch.cat(errors).mean().item(), rel=1e-5)}
    assert curve is None


class Reds(nn.Module):
    """A patch's token is how red it is, in quarters."""

    def forward(self, x):
        return (F.avg_pool2d(x[:, :1], 3) * 3.999).long().flatten(1)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:.torch.jit.(trace|save):FutureWarning")
def test_tokens_are_validated_by_cross_entropy_and_not_drawn(world, web, tmp_path, capsys):
    torch.jit.trace(Reds(), torch.rand(3, 3, 12, 12)).save(str(tmp_path / "reds.pt"))
    fields = {"tokenizer": str(tmp_path / "reds.pt"), "tokenizer_size": 12, "vocabulary": 4}
    target = {"kind": "tokens", **fields}
    opened = Validation.open(
        configured(web.url, {"target": target}), world, objective(target=target)
    )
    assert "no pictures are drawn: tokens have no pixels" in capsys.readouterr().err
    model = tiny(opened.objective)
    found, errors = opened.losses(model, unasked), []
    for _, image in images_of(web):
        stored = image[:, :1] * 0.229 + 0.485
        ids = (F.avg_pool2d(stored, 3) * 3.999).long().flatten()
        errors.append(F.cross_entropy(model(image, torch.tensor([1]))[0, :-1], ids[1:]).item())
    assert found.means["causal"] == pytest.approx(sum(errors) / 23, rel=1e-5)
    opened.save_picture(model, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize(("ranks", "batch"), [(2, 5), (3, 4), (5, 1), (4, 30)])
def test_the_ranks_sums_add_up_to_those_of_one_rank(web, model, monkeypatch, ranks, batch):
    whole = sums_of(web, model, monkeypatch, 0, 1, 23)
    parts = [sums_of(web, model, monkeypatch, rank, ranks, batch) for rank in range(ranks)]
    torch.testing.assert_close(sum(parts), whole, rtol=1e-6, atol=0)
    assert (sum(parts)[..., 1] == whole[..., 1]).all()


def test_the_runs_seed_changes_no_loss(world, web, model):
    one, other = (
        validation(web, world, 10, objective(seed=seed)).losses(model, unasked) for seed in (0, 1)
    )
    assert one == other


def test_validating_leaves_the_model_training_and_without_gradients(world, web, model):
    model.train()
    validation(web, world, 10).losses(model, unasked)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("kernel", ["causal", "full"])
def test_what_training_does_without_a_mask_is_validated_and_drawn_with_one(
    world, web, tmp_path, kernel
):
    """The kernels of training for objectives whose prefixes are all alike."""
    model, found = tiny(objective()), []
    for model.kernel in ("mask", kernel):
        before = model.kernel
        losses = validation(web, world, 10).losses(model, unasked)
        validation(web, world, 10).save_picture(model, tmp_path / "picture.png")
        found.append((losses, (tmp_path / "picture.png").read_bytes()))
        assert model.kernel == before
    assert found[0] == found[1]


def test_validating_compiles_nothing_and_training_is_compiled_for_its_own_sizes(world, web):
    """A run that begins with a validation trains as one that is resumed without it."""
    graphs, model = [], tiny(objective())

    def backend(graph, inputs):
        graphs.append([size for size in inputs if isinstance(size, torch.SymInt)])
        return graph

    torch.compiler.reset()
    for block in model.blocks():
        block.compile(fullgraph=True, backend=backend)
    validation(web, world, 10).losses(model, unasked)
    assert not graphs
    model(torch.zeros(4, 3, 12, 12), torch.tensor([1, 5, 11, 15]), torch.arange(32))
    assert graphs == [[], []], "trunk and head, with no size that varies"
    torch.compiler.reset()


def test_a_validation_is_abandoned_between_batches_and_the_model_trains_on(world, web, model):
    polls = []

    def stop():
        assert not model.training
        polls.append(None)
        if len(polls) == 2:
            raise KeyboardInterrupt

    model.train()
    with pytest.raises(KeyboardInterrupt):
        validation(web, world, 5).losses(model, stop)
    assert (len(polls), model.training) == (2, True)


@pytest.mark.parametrize(("batch", "ranks"), [(1, 1), (100, 1), (3, 4)])
def test_the_picture_shows_the_first_images_whatever_the_batch(web, model, tmp_path, batch, ranks):
    path = tmp_path / "pictures" / "00000000.png"
    validation(web, World(0, ranks, CPU), batch).save_picture(model, path)
    with Image.open(path) as picture:
        assert picture.size == (PICTURED * 12 * SCALE, 4 * 12 * SCALE)
        first = Source("validation", of_snapshot(web)).records(0, 1)[0]
        shown = np.asarray(picture)[: 12 * SCALE : SCALE, : 12 * SCALE : SCALE]
        np.testing.assert_array_equal(shown, evaluation_view(decode(first.image), 12))


def test_a_set_that_is_smaller_than_a_picture_is_drawn_without_padding(trusted, model, tmp_path):
    path = tmp_path / "00000000.png"
    validation(trusted, World(0, 1, CPU), 10).save_picture(model, path)
    with Image.open(path) as picture:
        assert picture.width == 7 * 12 * SCALE


def test_only_the_first_rank_writes_the_picture(web, model, tmp_path):
    path = tmp_path / "00000000.png"
    validation(web, World(1, 2, CPU), 10).save_picture(model, path)
    assert not path.exists()


def configured(url, fields=None, parts=1):
    return TrainConfig(
        run="run",
        mixture="mixture.json",
        validation=url,
        model=CONFIG,
        objective=fields or {},
        stream={"batch": 24, "lanes": 6, "image_size": 12, "patience": {"first_pause": 0.01}},
        steps=1,
        compute={"micro_batches": parts},
    )


@pytest.mark.parametrize(
    ("ranks", "parts", "batch"), [(1, 1, 24), (5, 1, 4), (1, 2, 12), (3, 2, 4), (100, 1, 1)]
)
def test_a_rank_takes_as_many_images_at_once_as_in_training(web, ranks, parts, batch):
    config = configured(web.url, parts=parts)
    opened = Validation.open(config, World(0, ranks, CPU), objective())
    assert (opened.batch, opened.image_size, len(opened.source)) == (batch, 12, 23)


def test_a_set_that_cannot_be_had_at_once_is_asked_for_again_as_the_streams_are(web, busy_twice):
    config = configured(web.url)
    opened = Validation.open(config, World(0, 1, CPU), objective())
    assert (len(opened.source), busy_twice) == (23, [])
    assert opened.source.patience == config.stream.patience
