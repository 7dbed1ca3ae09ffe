"""A run that stands still ends with the stacks of all ranks, and names the one it waits for."""

import pytest

from tests.trainer.ranks import ranks
from trainer import watchdog
from trainer.watchdog import HUNG, Place, Watchdog, lagging

LOOP = """
import sys, threading, time
from pathlib import Path
import trainer.watchdog
from trainer import distributed
from trainer.watchdog import Watchdog

trainer.watchdog.LOOKS = 5  # seldom: who ends first leaves the others time on a busy machine

folder, hangs, limit = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])

def waits_for_a_picture_for_ever():
    threading.Event().wait()

with distributed.join() as world, Watchdog(folder, limit, world) as watchdog:
    for step in range(12):
        watchdog.beat(step, "data")
        if (world.rank, step) == (hangs, 7):
            waits_for_a_picture_for_ever()
        watchdog.beat(step, "step")
        distributed.barrier()
"""
NOBODY = -1


def test_a_rank_that_hangs_in_its_data_ends_all_and_is_named_by_all(tmp_path):
    with ranks(2, LOOP, tmp_path, 1, 3) as processes:
        said = []
        for process in processes:
            _, err = process.communicate(timeout=120)
            assert process.returncode == HUNG, err
            said.append(err)
    for rank, err in enumerate(said):
        assert f"rank {rank} stands still: step 7" in err
        assert "behind the others: rank 1: step 7, data" in err
    stacks = [(tmp_path / "hangs" / f"00000007-rank{n}.txt").read_text() for n in range(2)]
    assert "waits_for_a_picture_for_ever" in stacks[1]
    assert "in barrier" in stacks[0]
    assert "behind the others: rank 1" in stacks[0]


def test_a_rank_that_is_busy_ends_as_well_when_another_hangs(tmp_path):
    busy = "while (world.rank, step) == (0, 7): watchdog.beat(step, 'step'); time.sleep(0.05)"
    with ranks(2, LOOP.replace("distributed.barrier()", busy), tmp_path, 1, 3) as processes:
        for process in processes:
            _, err = process.communicate(timeout=120)
            assert process.returncode == HUNG, err
    assert "behind the others: rank 1: step 7, data" in err
    assert len(list((tmp_path / "hangs").iterdir())) == 2


def test_one_process_alone_that_hangs_ends_too_though_its_folder_cannot_be_written(tmp_path):
    (tmp_path / "hangs").touch()  # a file where the folder should be
    with ranks(1, LOOP, tmp_path, 0, 2) as (process,):
        _, err = process.communicate(timeout=120)
        assert process.returncode == HUNG, err
    assert "rank 0 stands still: step 7, data" in err
    assert "stacks not written" in err


def test_a_rank_that_waits_for_ever_for_the_store_is_watched_all_the_same(tmp_path):
    asks = "distributed.dist.group.WORLD.get_group_store().get('what nobody will say')"
    with ranks(1, LOOP.replace("threading.Event().wait()", asks), tmp_path, 0, 2) as (process,):
        _, err = process.communicate(timeout=120)
        assert process.returncode == HUNG, err


def test_a_run_that_moves_ends_as_it_would_without(tmp_path):
    with ranks(2, LOOP, tmp_path, NOBODY, 20) as processes:
        for process in processes:
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
            assert "stands still" not in err
    assert not (tmp_path / "hangs").exists()


def test_the_thread_is_gone_after_the_block(world, tmp_path):
    with Watchdog(tmp_path, 60, world) as dog:
        dog.beat(1, "data")
        thread = dog._thread
        assert thread.is_alive()
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("beats", "words"),
    [
        ((5, 5, 5), "all 3 ranks have come equally far"),
        ((5, 4, 5), "behind the others: rank 1: step 2, data, for 9 s"),
        ((5, 4, 3), "rank 1: step 2, data, for 9 s; rank 2: step 1, data, for 9 s"),
    ],
)
def test_who_has_come_less_far_is_named_with_the_place(beats, words):
    assert words in lagging([Place(n, n // 2, "data", 9.0) for n in beats])


def test_a_store_that_is_gone_is_said_and_does_not_keep_the_watch_from_ending(world, tmp_path):
    class Gone:
        def __getattr__(self, name):
            raise RuntimeError("Connection reset\nat some address")

    dog = Watchdog(tmp_path, 60, world)
    dog._store = Gone()
    dog._publish(Place())
    assert not dog._another_hangs()
    assert dog._others(Place()) == "where the others are is not known: Connection reset"
    assert watchdog.HANGS == "hangs"
