"""Checkpoints that several ranks save and any number of others load."""

from pathlib import Path

import pytest
import torch

from tests.chaos import trainer as chaos
from tests.trainer.checkpoint.members import SIZES
from tests.trainer.checkpoint.small import assert_bitwise, tiny, values
from tests.trainer.ranks import ranks
from trainer import checkpoint

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
from tests.trainer.checkpoint import members
name, *words = sys.argv[1:]
getattr(members, name)(*(int(word) if word.isdigit() else word for word in words))
"""


def play(count: int, *words: str | Path | int) -> list[str]:
    """What each of `count` ranks said on its standard error, all of which ended well."""
    with ranks(count, SCRIPT, *map(str, words)) as started:
        said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * count, said
    return said


def test_copies_of_shards_are_written_once_and_load_bitwise_on_one_rank_and_on_two(world, tmp_path):
    where, saved = tmp_path / "checkpoints", tmp_path / "saved"
    play(4, "save", where, saved, 2, 2)
    expected = torch.load(saved)
    nbytes = sum(value.nbytes for value in expected.values() if torch.is_tensor(value))
    assert sum(path.stat().st_size for path in where.glob("*/*.distcp")) < 1.5 * nbytes

    newest = checkpoint.newest(str(where))
    model, optimiser = tiny(seed=1, **SIZES)
    checkpoint.load(newest, model, optimiser)
    assert_bitwise(values(model, optimiser), expected)
    play(2, "load", where, tmp_path / "loaded", 2)
    assert_bitwise(torch.load(tmp_path / "loaded"), expected)


def test_a_disk_that_is_full_for_one_rank_ends_the_save_on_all_in_the_same_words(tmp_path):
    where = tmp_path / "checkpoints"
    first, second = (said.splitlines()[-1] for said in play(2, "fail", where, 100))
    assert first == second
    assert first.startswith(f"{where}/00000002: not written: rank 1: File too large; make room")
    assert first.endswith(f"{where}/00000001")


def test_a_folder_that_is_another_one_for_each_rank_makes_no_checkpoint(tmp_path):
    said = [s.splitlines()[-1] for s in play(2, "fail", tmp_path / "{rank}", 0)]
    for rank, line in enumerate(said):
        assert line.startswith(f"{tmp_path}/0/00000001: 1 of 2 files are missing, __1_0.distcp")
        assert line.endswith("or a URL None"), rank


def test_a_rank_killed_at_a_random_point_of_a_save_leaves_a_run_that_goes_on(tmp_path):
    """Twenty such rounds are in `make chaos`."""
    found = chaos.play(1, tmp_path / "round")
    assert found.same
    assert found.kept
