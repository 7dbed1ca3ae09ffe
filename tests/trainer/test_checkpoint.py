import pytest
import torch

from pipeline.format.errors import HeadraceError
from tests.trainer.conftest import no_file_over
from trainer import checkpoint
from trainer.model.aim import AIM
from trainer.model.sizes import ModelConfig
from trainer.objective import loss_sum_and_count
from trainer.optimiser import OptimiserConfig, build_optimiser

CONFIG = ModelConfig(
    image_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=1, head_width=8, head_depth=1
)
STATE = {"config": {"seed": 0}, "stream": {"step": 2}, "digest": "00ff"}


def tiny(seed=0):
    model = AIM(CONFIG)
    model.init_weights(torch.Generator().manual_seed(seed))
    return model, build_optimiser(model, OptimiserConfig())


def update(model, optimiser, step):
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))
    prefix = torch.tensor([1, 2, 3, 1])
    loss, count = loss_sum_and_count(model(images, prefix), images, prefix)
    (loss / count).backward()
    optimiser.step()
    optimiser.zero_grad()


def values(model, optimiser):
    """Every number that a later step depends on."""
    moments = optimiser.state_dict()
    return {
        **{f"model.{name}": value.clone() for name, value in model.state_dict().items()},
        **{
            f"{number}.{name}": value.clone()
            for number, state in moments["state"].items()
            for name, value in state.items()
        },
        **{f"lr.{number}": g["lr"] for number, g in enumerate(moments["param_groups"])},
    }


def assert_bitwise(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        same = torch.equal(found[name], value) if torch.is_tensor(value) else found[name] == value
        assert same, name


def folders(path):
    return sorted(child.name for child in path.iterdir())


def fake(path, step, complete=True):
    folder = path / f"{step:08d}"
    folder.mkdir(parents=True)
    (folder / "__0_0.distcp").write_bytes(b"weights")
    if complete:
        (folder / checkpoint.MARKER).write_text("{}")


def test_what_is_loaded_is_bitwise_what_was_saved_and_trains_on_alike(world, tmp_path):
    model, optimiser = tiny()
    for step in range(2):
        update(model, optimiser, step)
    for group in optimiser.param_groups:
        group["lr"] = 3e-4
    saved = values(model, optimiser)
    checkpoint.save(tmp_path, 2, model, optimiser, STATE)
    assert_bitwise(values(model, optimiser), saved)  # saving changes nothing
    update(model, optimiser, 2)

    other, other_optimiser = tiny(seed=1)
    checkpoint.load(tmp_path / "00000002", other, other_optimiser)
    state = checkpoint.read_state(tmp_path / "00000002")
    assert state == {"step": 2, **STATE}
    assert_bitwise(values(other, other_optimiser), saved)
    update(other, other_optimiser, 2)
    assert_bitwise(values(other, other_optimiser), values(model, optimiser))


def test_loading_into_an_optimiser_that_has_moments_replaces_them(world, tmp_path):
    model, optimiser = tiny()
    update(model, optimiser, 0)
    saved = values(model, optimiser)
    checkpoint.save(tmp_path, 1, model, optimiser, STATE)
    for step in range(1, 4):
        update(model, optimiser, step)
    checkpoint.load(tmp_path / "00000001", model, optimiser)
    assert_bitwise(values(model, optimiser), saved)


def test_a_folder_that_a_kill_left_is_written_anew(world, tmp_path):
    fake(tmp_path, 1, complete=False)
    (tmp_path / "00000001" / "rubbish").write_bytes(b"")
    model, optimiser = tiny()
    update(model, optimiser, 0)
    checkpoint.save(tmp_path, 1, model, optimiser, STATE)
    assert "rubbish" not in folders(tmp_path / "00000001")
    other, other_optimiser = tiny(seed=1)
    checkpoint.load(checkpoint.newest(tmp_path), other, other_optimiser)
    assert_bitwise(values(other, other_optimiser), values(model, optimiser))


@pytest.mark.parametrize(("width", "nbytes"), [(8, 100), (600, 100_000)])
def test_a_disk_that_holds_no_checkpoint_is_told_in_one_line(world, tmp_path, width, nbytes):
    """The system's error reaches us, or torch's own where a tensor is larger than its buffer."""
    model = torch.nn.Linear(width, width)
    with (
        no_file_over(nbytes),
        pytest.raises(HeadraceError, match=rf"{tmp_path}/00000001: not written: .*; make room"),
    ):
        checkpoint.save(tmp_path, 1, model, torch.optim.AdamW(model.parameters()), STATE)
    assert checkpoint.newest(tmp_path) is None
    checkpoint.save(tmp_path, 1, model, torch.optim.AdamW(model.parameters()), STATE)
    assert checkpoint.newest(tmp_path) == tmp_path / "00000001"


def test_a_complete_checkpoint_is_not_written_again(world, tmp_path):
    model, optimiser = tiny()
    checkpoint.save(tmp_path, 1, model, optimiser, STATE)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "00000001").iterdir()}
    checkpoint.save(tmp_path, 1, model, optimiser, {"digest": "other"})
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "00000001").iterdir()} == before


def test_newest_is_the_complete_one_of_the_highest_step(tmp_path):
    fake(tmp_path, 9)
    fake(tmp_path, 120)
    fake(tmp_path, 30)
    fake(tmp_path, 240, complete=False)
    assert checkpoint.newest(tmp_path) == tmp_path / "00000120"


def test_there_is_no_newest_without_a_complete_one(tmp_path):
    assert checkpoint.newest(tmp_path / "nowhere") is None
    fake(tmp_path, 240, complete=False)
    assert checkpoint.newest(tmp_path) is None


@pytest.mark.parametrize(
    ("count", "left"),
    [
        (1, ["00000050", "00000200", "00000300"]),
        (2, ["00000050", "00000100", "00000200", "00000300"]),
        (9, ["00000010", "00000050", "00000100", "00000200", "00000300"]),
    ],
)
def test_the_newest_stay_and_incomplete_ones_are_neither_counted_nor_deleted(tmp_path, count, left):
    for step in (10, 100, 200):
        fake(tmp_path, step)
    for step in (50, 300):
        fake(tmp_path, step, complete=False)
    checkpoint.keep_newest(tmp_path, count)
    assert folders(tmp_path) == left
    assert checkpoint.newest(tmp_path) == tmp_path / "00000200"


def test_the_only_complete_checkpoint_is_never_deleted(tmp_path):
    fake(tmp_path, 10)
    fake(tmp_path, 20, complete=False)
    checkpoint.keep_newest(tmp_path, 1)
    assert folders(tmp_path) == ["00000010", "00000020"]


def test_a_deletion_cut_short_leaves_no_complete_half_checkpoint(tmp_path, monkeypatch):
    fake(tmp_path, 10)
    fake(tmp_path, 20)

    def killed(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.keep_newest(tmp_path, 1)
    assert folders(tmp_path / "00000010") == ["__0_0.distcp"]
    assert checkpoint.newest(tmp_path) == tmp_path / "00000020"
