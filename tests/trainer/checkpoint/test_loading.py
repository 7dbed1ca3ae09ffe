"""What is loaded, and what is said where it cannot be."""

import warnings
from contextlib import closing

import pytest
import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader

from pipeline.format.errors import HeadraceError
from tests.trainer.checkpoint.small import (
    STATE,
    assert_bitwise,
    bare,
    tiny,
    trained,
    update,
    values,
)
from trainer import checkpoint, distributed


@pytest.fixture
def saved(monkeypatch, tmp_path):
    """A model and optimiser after two steps, and their checkpoint; no process group is left."""
    monkeypatch.delenv("RANK", raising=False)
    model, optimiser = trained(2)
    with distributed.join(), closing(checkpoint.Saver(str(tmp_path), keep=1)) as saver:
        saver.save(2, model, optimiser, STATE)
    return model, optimiser, f"{tmp_path}/00000002"


def test_loading_into_an_optimiser_that_has_moments_replaces_them(saved, world):
    model, optimiser, url = saved
    expected = values(model, optimiser)
    for step in range(1, 4):
        update(model, optimiser, step)
    checkpoint.load(url, model, optimiser)
    assert_bitwise(values(model, optimiser), expected)


def test_weights_alone_are_loaded_without_a_process_group(saved):
    model, _, url = saved
    other = bare(1)
    with warnings.catch_warnings(action="error"):
        checkpoint.load_weights(url, other)
    assert all(torch.equal(v, model.state_dict()[n]) for n, v in other.state_dict().items())


def test_of_a_checkpoint_only_the_weights_are_read_for_weights_alone(saved, monkeypatch):
    model, _, url = saved
    read = []

    def told(self, plan, planner):
        read.extend(item.dest_index.fqn for item in plan.items)
        return take(self, plan, planner)

    take = FileSystemReader.read_data
    monkeypatch.setattr(FileSystemReader, "read_data", told)
    checkpoint.load_weights(url, bare(1))
    assert sorted(read) == sorted(f"model.{name}" for name in model.state_dict())


@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_a_damaged_file_is_told_in_one_line(saved, world, damage, tmp_path):
    *_, url = saved
    file = tmp_path / "00000002" / "__0_0.distcp"
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: 5000 if damage == "cut" else 0])
    with pytest.raises(HeadraceError, match=rf"^{url}: not loaded: rank 0: [^\n]*; it must be"):
        checkpoint.load(url, *tiny(1))


@pytest.mark.parametrize("sizes", [{"width": 9}, {"depth": 3}])
def test_a_model_of_another_shape_is_told_in_one_line(saved, world, sizes):
    *_, url = saved
    with pytest.raises(HeadraceError, match=rf"^{url}: not loaded: rank 0: [^\n]*; it must be"):
        checkpoint.load(url, *tiny(1, **sizes))


def test_an_incomplete_checkpoint_is_not_loaded(saved, world, tmp_path):
    *_, url = saved
    (tmp_path / "00000002" / checkpoint.MARKER).unlink()
    for load in (checkpoint.load, lambda url, model, _: checkpoint.load_weights(url, model)):
        with pytest.raises(HeadraceError, match=f"^{url}: no complete checkpoint; name"):
            load(url, *tiny(1))
