"""What a fork takes from its parent; whole forks are in test_train.py."""

import json
from contextlib import closing
from pathlib import Path

import pytest
import torch

from pipeline.format.errors import HeadraceError
from trainer import checkpoint, fork
from trainer.model.aim import AIM
from trainer.model.sizes import ModelConfig
from trainer.optimiser import OptimiserConfig, build_optimiser, parameter_groups

CONFIG = ModelConfig(
    image_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=1, head_width=8, head_depth=1
)


def tiny(seed, optimiser):
    model = AIM(CONFIG)
    model.init_weights(torch.Generator().manual_seed(seed))
    return model, build_optimiser(parameter_groups(model, optimiser), optimiser)


def test_betas_and_decay_are_the_forks_weights_and_moments_the_parents(world, tmp_path):
    model, optimiser = tiny(0, OptimiserConfig())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    with closing(checkpoint.Saver(str(tmp_path), keep=1)) as saver:
        saver.save(1, model, optimiser, {})
    mine = OptimiserConfig(betas=(0.5, 0.6), weight_decay=0.7, lr=0.01)
    other, others = tiny(1, mine)
    fork.load(f"{tmp_path}/00000001", other, others)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    moments = [o.state_dict()["state"] for o in (optimiser, others)]
    assert len(moments[0]) == len(moments[1]) > 10
    for number, state in moments[0].items():
        assert all(torch.equal(moments[1][number][name], value) for name, value in state.items())
    assert [group["weight_decay"] for group in others.param_groups] == [0.7, 0.0]
    assert {group["betas"] for group in others.param_groups} == {(0.5, 0.6)}
    assert {group["lr"] for group in others.param_groups} == {0.01}


STATE = {
    "config": {"seed": 1},
    "step": 8,
    "stream": {"identity": {"order": 3}},
    "delivered": {"digest": "00ff"},
}


def complete(folder, step):
    """A checkpoint's folder, of which only the marker is read."""
    path = folder / f"{step:08d}"
    path.mkdir(parents=True)
    (path / checkpoint.MARKER).write_text(json.dumps(STATE))
    return str(path)


def remembered(where):
    return fork.record(where, fork.parent_of(where), {"seed": 2}, {"order": 3})


def test_a_parent_is_its_newest_checkpoint_or_the_one_that_is_named(tmp_path):
    older, newer = (complete(tmp_path / "run" / "checkpoints", step) for step in (4, 8))
    run = str(tmp_path / "run")
    assert fork.parent_of(run) == fork.parent_of(f"{run}/checkpoints") == newer
    assert fork.parent_of(older) == older
    for where in (run, f"{run}/checkpoints", older):
        assert remembered(where) == {
            "run": run,
            "step": 8,
            "digest": "00ff",
            "differences": ["seed was 1, now 2"],
        }
        fork.check_same(str(tmp_path), remembered(where), where)


def test_a_parent_that_keeps_its_checkpoints_elsewhere_is_found_by_its_folder(tmp_path):
    newest = complete(tmp_path / "store" / "a", 8)
    complete(tmp_path / "store" / "b", 8)
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"checkpoints": f"file://{tmp_path}/store/a"}))
    assert fork.parent_of(str(run)) == f"file://{newest}"
    assert remembered(str(run))["run"] == str(run)
    fork.check_same(str(tmp_path), remembered(str(run)), str(run))
    fork.check_same(str(tmp_path), remembered(newest), newest)
    with pytest.raises(HeadraceError, match=f"not forked from {tmp_path}/store/b/00000008"):
        fork.check_same(str(tmp_path), remembered(newest), f"{tmp_path}/store/b/00000008")


def test_a_folder_without_a_complete_checkpoint_is_no_parent(tmp_path):
    (tmp_path / "checkpoints" / "00000008").mkdir(parents=True)
    with pytest.raises(HeadraceError, match=f"^{tmp_path}: no complete checkpoint in it"):
        fork.parent_of(str(tmp_path))


@pytest.mark.parametrize("where", ["/parent", "/parent/checkpoints/00000008"])
def test_a_fork_of_a_run_at_the_root_of_a_mount_resumes(tmp_path, where):
    fork.check_same(str(tmp_path), {"run": "/parent"}, where)
    with pytest.raises(HeadraceError, match=f"not forked from {where}"):
        fork.check_same(str(tmp_path), {"run": "/other"}, where)


def test_a_config_that_is_no_json_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(HeadraceError, match=rf"^{tmp_path}/config.json: no JSON: .*; restore or"):
        fork.parent_of(str(tmp_path))


def test_a_run_begins_only_where_no_other_one_does(tmp_path):
    fork.check_new(tmp_path, f"{tmp_path}/checkpoints", forks=False)
    newest = complete(tmp_path / "old", 8)
    (tmp_path / "config.json").write_text(json.dumps({"checkpoints": str(tmp_path / "old")}))
    with pytest.raises(HeadraceError, match=f"its checkpoints are in {tmp_path}/old, and"):
        fork.check_new(tmp_path, "s3://bucket/new", forks=True)
    (Path(newest) / checkpoint.MARKER).unlink()  # taken away on purpose: it may begin again
    fork.check_new(tmp_path, "s3://bucket/new", forks=False)
    (tmp_path / "config.json").write_text(json.dumps({"parent": {"run": "/parent"}}))
    with pytest.raises(HeadraceError, match="a fork of /parent, and without a checkpoint so far"):
        fork.check_new(tmp_path, f"{tmp_path}/checkpoints", forks=False)
    fork.check_new(tmp_path, f"{tmp_path}/checkpoints", forks=True)
