"""A trunk for evaluation: the same wherever its weights lie, and the outputs that are averaged."""

import pytest
import torch
from safetensors.torch import save_file

from jobs import export
from pipeline.format.errors import HeadraceError
from tests.trainer.runs import MODEL, train
from trainer.frozen import best_layers, last_layers, open_frozen
from trainer.model.aim import AIM
from trainer.model.sizes import SIZES, ModelConfig

CPU = torch.device("cpu")
CONFIG = ModelConfig(**MODEL | {"depth": 4})


@pytest.fixture
def model() -> AIM:
    one = AIM(CONFIG)
    one.init_weights(torch.Generator().manual_seed(1))
    return one


@pytest.fixture
def weights(model, tmp_path):
    """A lone backbone, as Apple's release is one."""
    backbone = {k: v for k, v in model.state_dict().items() if not k.startswith("pixel_head.")}
    save_file(backbone, tmp_path / "backbone.safetensors")
    return str(tmp_path / "backbone.safetensors")


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def outputs(model: AIM, images: torch.Tensor, see: torch.Tensor) -> list[torch.Tensor]:
    """Of every block, by plain attention under a mask (K, K)."""
    x, found = model.preprocessor(images), []
    for block in model.trunk.blocks:
        q, k, v = (
            part.unflatten(-1, (block.attn.num_heads, -1)).transpose(1, 2)
            for part in block.attn.qkv(block.norm_1(x)).chunk(3, dim=-1)
        )
        scores = (q @ k.transpose(-1, -2)) / q.shape[-1] ** 0.5
        attended = scores.masked_fill(~see, -torch.inf).softmax(dim=-1) @ v
        x = x + block.attn.proj(attended.transpose(1, 2).flatten(2))
        x = x + block.mlp(block.norm_2(x))
        found.append(x)
    return found


@pytest.mark.parametrize("sees", ["bidirectional", "causal"])
def test_a_window_is_the_mean_of_what_its_blocks_put_out(weights, images, sees):
    frozen = open_frozen(weights, CPU, CONFIG, sees)
    K = CONFIG.num_patches
    see = torch.ones(K, K, dtype=torch.bool)
    see = see.tril() if sees == "causal" else see
    every = outputs(frozen.model, images, see)
    one, two = frozen.windows(images, [(1, 2), (3,)])
    torch.testing.assert_close(one, (every[1] + every[2]) / 2)
    torch.testing.assert_close(two, every[3])


def test_no_block_runs_that_no_window_needs(weights, images):
    frozen = open_frozen(weights, CPU, CONFIG)
    before = frozen.windows(images, [(0, 1)])[0]
    for block in list(frozen.model.trunk.blocks)[2:]:
        for parameter in block.parameters():
            parameter.fill_(torch.nan)
    assert torch.equal(frozen.windows(images, [(0, 1)])[0], before)


def test_nothing_of_it_learns(weights, images):
    frozen = open_frozen(weights, CPU, CONFIG)
    assert not any(parameter.requires_grad for parameter in frozen.model.parameters())
    assert not frozen.windows(images, [(0,)])[0].requires_grad


def test_a_run_its_checkpoint_and_its_export_are_one_trunk(run_config, images, tmp_path):
    run = train(run_config | {"steps": 2, "validation": None})
    export.run(str(run), str(tmp_path / "weights"))
    places = [run, run / "checkpoints", run / "checkpoints" / "00000002", tmp_path / "weights"]
    opened = [open_frozen(str(place), CPU) for place in places]
    assert len({one.told["sha256"] for one in opened}) == 1
    assert {one.told["step"] for one in opened} == {2}
    assert open_frozen(f"file://{run}/checkpoints", CPU).told["run"] == str(run)
    assert [one.told["run"] for one in opened] == [str(run)] * 3 + [None]
    first, *others = (one.windows(images, [last_layers(one.depth)])[0] for one in opened)
    assert all(torch.equal(first, other) for other in others)


def test_another_model_has_another_digest(weights, tmp_path, model):
    before = open_frozen(weights, CPU, CONFIG).told["sha256"]
    with torch.no_grad():
        model.trunk.blocks[3].attn.proj.weight[0, 0] += 1
    backbone = {k: v for k, v in model.state_dict().items() if not k.startswith("pixel_head.")}
    save_file(backbone, tmp_path / "other.safetensors")
    other = open_frozen(str(tmp_path / "other.safetensors"), CPU, CONFIG)
    assert other.told["sha256"] != before


def test_what_holds_no_weights_is_one_line(tmp_path):
    with pytest.raises(HeadraceError, match="no such file or folder"):
        open_frozen(str(tmp_path / "nowhere"), CPU)
    (tmp_path / "empty").mkdir()
    with pytest.raises(HeadraceError, match="neither a whole export"):
        open_frozen(str(tmp_path / "empty"), CPU)


def test_the_last_six_blocks_are_read_or_all_of_a_smaller_trunk():
    assert last_layers(24) == (18, 19, 20, 21, 22, 23)
    assert last_layers(4) == (0, 1, 2, 3)


def test_the_best_blocks_are_those_of_the_release():
    assert best_layers(SIZES["aim-7b"]) == (14, 15, 16, 17, 18, 19)
    assert best_layers(SIZES["aim-1b"]) == (12, 13, 14, 15, 16, 17)
    with pytest.raises(HeadraceError, match="layers: best is known for aim-600m"):
        best_layers(CONFIG)
