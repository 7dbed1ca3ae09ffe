"""Saves of one rank; those of many are in test_ranks.py."""

import threading
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.checkpoint.state_dict_saver import save as save_sharded

from pipeline.format.errors import HeadraceError
from tests.trainer.checkpoint.small import (
    STATE,
    assert_bitwise,
    fake,
    folders,
    tiny,
    trained,
    update,
    values,
)
from tests.trainer.conftest import no_file_over
from trainer import checkpoint
from trainer.checkpoint import saving


@pytest.fixture
def saver(world, tmp_path):
    with closing(checkpoint.Saver(str(tmp_path), keep=2)) as saver:
        yield saver


@pytest.fixture
def gate(monkeypatch):
    """Shut, it keeps every save from writing."""
    opened = threading.Event()
    write = saving.save_sharded

    def held(*words, **options):
        assert opened.wait(20)
        return write(*words, **options)

    monkeypatch.setattr(saving, "save_sharded", held)
    yield opened
    opened.set()


def test_what_is_loaded_is_bitwise_what_was_saved_and_trains_on_alike(saver, tmp_path):
    model, optimiser = trained(2)
    for group in optimiser.param_groups:
        group["lr"] = 3e-4
    saved = values(model, optimiser)
    saver.save(2, model, optimiser, STATE)
    saver.wait()
    assert_bitwise(values(model, optimiser), saved)  # saving changes nothing
    update(model, optimiser, 2)

    other, others = tiny(seed=1)
    checkpoint.load(f"{tmp_path}/00000002", other, others)
    assert checkpoint.read_state(f"{tmp_path}/00000002") == {"step": 2, **STATE}
    assert_bitwise(values(other, others), saved)
    update(other, others, 2)
    assert_bitwise(values(other, others), values(model, optimiser))


def test_a_checkpoint_before_the_first_step_trains_on_as_from_the_beginning(saver, tmp_path):
    model, optimiser = tiny()
    saver.save(0, model, optimiser, STATE)
    saver.wait()
    other, others = tiny(seed=1)
    checkpoint.load(f"{tmp_path}/00000000", other, others)
    untouched = tiny()
    for parts in (untouched, (model, optimiser), (other, others)):
        update(*parts, 0)
    assert_bitwise(values(model, optimiser), values(*untouched))
    assert_bitwise(values(other, others), values(*untouched))


def test_what_changes_after_the_call_is_not_in_the_checkpoint(saver, gate, tmp_path):
    model, optimiser = trained(1)
    saved = values(model, optimiser)
    state = {"list": [1]}
    saver.save(1, model, optimiser, state)
    for step in range(1, 4):  # all weights, both moments and the counts of steps
        update(model, optimiser, step)
    for group in optimiser.param_groups:
        group["lr"] = 7.0
    state["list"].append(2)
    assert checkpoint.newest(str(tmp_path)) is None
    gate.set()
    saver.wait()
    other, others = tiny(seed=1)
    checkpoint.load(f"{tmp_path}/00000001", other, others)
    assert_bitwise(values(other, others), saved)
    assert checkpoint.read_state(f"{tmp_path}/00000001") == {"step": 1, "list": [1]}


def test_a_second_save_waits_for_the_first_and_changes_nothing_of_it(
    saver, gate, tmp_path, monkeypatch
):
    complete, collect = [], saving.get_state_dict

    def collected(*parts):
        complete.append(checkpoint.newest(str(tmp_path)))
        return collect(*parts)

    monkeypatch.setattr(saving, "get_state_dict", collected)
    model, optimiser = trained(1)
    saver.save(1, model, optimiser, STATE)
    first = values(model, optimiser)
    update(model, optimiser, 1)
    threading.Timer(0.2, gate.set).start()
    saver.save(2, model, optimiser, STATE)
    saver.wait()
    assert complete == [None, f"{tmp_path}/00000001"]
    for step, saved in ((1, first), (2, values(model, optimiser))):
        other, others = tiny(seed=1)
        checkpoint.load(f"{tmp_path}/{step:08d}", other, others)
        assert_bitwise(values(other, others), saved)


def test_a_checkpoint_holds_what_a_synchronous_save_of_dcp_would(saver, tmp_path):
    model, optimiser = trained(2)
    saver.save(1, model, optimiser, STATE)
    saver.wait()
    weights, moments = get_state_dict(model, optimiser)
    save_sharded({"model": weights, "optimiser": moments}, checkpoint_id=tmp_path / "plain")
    ours, plain = (tmp_path / name / "__0_0.distcp" for name in ("00000001", "plain"))
    assert ours.read_bytes() == plain.read_bytes()


def test_a_folder_that_a_kill_left_is_written_anew(saver, tmp_path):
    fake(tmp_path, 1, complete=False)
    (tmp_path / "00000001" / "rubbish").write_bytes(b"")
    model, optimiser = trained(1)
    saver.save(1, model, optimiser, STATE)
    saver.wait()
    assert folders(tmp_path / "00000001") == [".metadata", "COMPLETE", "__0_0.distcp"]
    other, others = tiny(seed=1)
    checkpoint.load(checkpoint.newest(str(tmp_path)), other, others)
    assert_bitwise(values(other, others), values(model, optimiser))


def test_a_complete_checkpoint_is_not_written_again(saver, tmp_path):
    model, optimiser = trained(1)
    saver.save(1, model, optimiser, STATE)
    saver.wait()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "00000001").iterdir()}
    saver.save(1, model, optimiser, {"digest": "other"})
    saver.wait()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "00000001").iterdir()} == before


def test_old_checkpoints_go_only_when_a_new_one_is_complete(saver, gate, tmp_path):
    for step in (1, 2):
        fake(tmp_path, step)
    model, optimiser = tiny()
    saver.save(3, model, optimiser, STATE)
    assert folders(tmp_path)[:2] == ["00000001", "00000002"]
    gate.set()
    saver.wait()
    assert folders(tmp_path) == ["00000002", "00000003"]


@pytest.mark.parametrize(("width", "nbytes"), [(8, 100), (600, 100_000)])
def test_a_disk_that_holds_no_checkpoint_is_told_in_one_line(saver, tmp_path, width, nbytes):
    """The system's error reaches us, or torch's own where a tensor is larger than its buffer."""
    model = torch.nn.Linear(width, width)
    optimiser = torch.optim.AdamW(model.parameters())
    fake(tmp_path, 1)
    with (
        no_file_over(nbytes),
        pytest.raises(HeadraceError, match=rf"^{tmp_path}/00000002: not written: .*; make room"),
    ):
        saver.save(2, model, optimiser, STATE)
        saver.wait()
    assert checkpoint.newest(str(tmp_path)) == f"{tmp_path}/00000001"
    saver.save(2, model, optimiser, STATE)
    saver.wait()
    assert checkpoint.newest(str(tmp_path)) == f"{tmp_path}/00000002"


def test_a_disk_with_no_room_for_the_marker_leaves_no_checkpoint(saver, tmp_path):
    model, optimiser = tiny()
    with no_file_over(500_000), pytest.raises(HeadraceError, match="COMPLETE: not written"):
        saver.save(1, model, optimiser, {"long": "x" * 600_000})
        saver.wait()
    assert checkpoint.newest(str(tmp_path)) is None


def test_a_failed_save_is_told_by_the_next_one_and_then_forgotten(saver, tmp_path):
    model, optimiser = tiny()
    with no_file_over(100):
        saver.save(1, model, optimiser, STATE)
        with pytest.raises(HeadraceError, match="00000001: not written"):
            saver.save(2, model, optimiser, STATE)
    saver.wait()
    assert checkpoint.newest(str(tmp_path)) is None
    saver.save(2, model, optimiser, STATE)
    saver.wait()
    assert checkpoint.newest(str(tmp_path)) == f"{tmp_path}/00000002"


def test_closing_lets_a_save_under_way_end(world, tmp_path):
    saver = checkpoint.Saver(str(tmp_path), keep=1)
    saver.save(1, *trained(1), STATE)
    saver.close()
    assert checkpoint.newest(str(tmp_path)) == f"{tmp_path}/00000001"


def test_a_store_of_fsspec_holds_what_a_folder_does(world, tmp_path):
    where = "memory://bucket/run"
    model, optimiser = trained(2)
    with closing(checkpoint.Saver(where, keep=1)) as saver:
        saver.save(1, *tiny(), STATE)
        saver.save(2, model, optimiser, STATE)
        saver.wait()
    assert checkpoint.newest(where) == f"{where}/00000002"
    assert checkpoint.read_state(f"{where}/00000002") == {"step": 2, **STATE}
    other, others = tiny(seed=1)
    checkpoint.load(f"{where}/00000002", other, others)
    assert_bitwise(values(other, others), values(model, optimiser))


def test_a_url_of_a_local_folder_is_that_folder(world, tmp_path):
    with closing(checkpoint.Saver(f"file://{tmp_path}/run", keep=1)) as saver:
        saver.save(1, *trained(1), STATE)
        saver.wait()
    assert checkpoint.newest(f"{tmp_path}/run") == f"{tmp_path}/run/00000001"
    assert Path(tmp_path / "run" / "00000001" / ".metadata").exists()
