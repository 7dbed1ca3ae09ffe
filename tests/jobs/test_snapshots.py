"""`headrace snapshots`: every published snapshot, with what it keeps, costs and shares."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs import snapshots
from jobs.commands import keeping
from pipeline.format import retired
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Shard
from tests.pipeline.format.test_snapshot import publish, snapshot

OLD, NEW, BESIDE = ("b" * 16, "a" * 16, "c" * 16)


def shard(name: str, samples: int) -> Shard:
    return Shard(f"shards/{name}/00000000.tar", samples, samples * 10_000, "ab")


@pytest.fixture
def dataset(tmp_path) -> Path:
    """Two snapshots in a chain that share a shard, one retired; and one that came too late."""
    one, two, three = shard(OLD, 3000), shard(NEW, 1), shard(BESIDE, 2)
    first = snapshot(
        f"file://{tmp_path}", id=OLD, shards=(one,), counts={"kept": 3000, "too_small": 7}
    )
    late = replace(first, id=BESIDE, parent=OLD, shards=(three,), counts={"kept": 2})
    second = replace(first, id=NEW, parent=OLD, shards=(one, two), counts={"kept": 3001})
    for published in (late, first, second):
        publish(published)
    retired.retire(first.url, NEW)
    return tmp_path


def command(*words: str):
    return CliRunner().invoke(keeping.app, ["snapshots", *words], catch_exceptions=False)


def test_each_snapshot_is_one_line_newest_first(dataset):
    result = command(str(dataset))
    assert result.exit_code == 0
    assert [line.split() for line in result.output.splitlines()] == [
        ["id", "parent", "kept", "dropped", "shards", "shared", "bytes"],
        [NEW, OLD, "3,001", "0", "2", "1", "30,010,000"],
        [OLD, "-", "3,000", "7", "1", "0", "30,000,000", "retired"],
        [BESIDE, OLD, "2", "0", "1", "0", "20,000", "beside", "the", "chain"],
    ]


def test_numbers_stand_below_their_names(dataset):
    head, *lines = snapshots.lines(snapshots.run(str(dataset)))
    wanted, found = (
        [word.end() for word in re.finditer(r"\S+", line)][2:] for line in (head, lines[0])
    )
    assert found == wanted


def test_a_program_gets_the_same_as_json(dataset):
    told = json.loads(command(str(dataset), "--json").output)
    assert [one["id"] for one in told] == [NEW, OLD, BESIDE]
    assert told[1] == {
        "id": OLD,
        "parent": None,
        "beside": False,
        "retired": True,
        "samples": 3000,
        "dropped": 7,
        "shards": 1,
        "shared": 0,
        "nbytes": 30_000_000,
        "counts": {"kept": 3000, "too_small": 7},
    }
    assert told[2]["beside"]


def test_a_folder_without_snapshots_says_what_to_do(tmp_path):
    with pytest.raises(HeadraceError, match="no snapshot here; curate it first"):
        snapshots.run(str(tmp_path))
