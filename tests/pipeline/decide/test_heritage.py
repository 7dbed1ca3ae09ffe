"""Shards of a child: what stays keeps shard and key, what goes leaves no gap, new rows follow."""

import itertools
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest

from pipeline.decide import heritage, layout
from pipeline.decide.engine import Local
from pipeline.decide.heritage import Heritage, Parent
from pipeline.decide.layout import WriteConfig
from pipeline.decide.pool import Pool
from pipeline.decide.verdict import JUDGED
from pipeline.format.errors import HeadraceError


def judged(kept, uids, generations, first=0) -> pa.Table:
    rows = [
        {
            "row": first + number,
            "reason": None if stands else "low_score",
            "uid": int(uid).to_bytes(16),
            "nbytes": 100,
            "generation": generation,
        }
        for number, (stands, uid, generation) in enumerate(
            zip(kept, uids, generations, strict=True)
        )
    ]
    return pa.Table.from_pylist(rows, JUDGED)


def laid_out(tables: list[pa.Table], parent: Parent) -> tuple[list[pa.Table], list, Heritage]:
    """Where the rows of these parts lie."""
    sizes = tuple(table.num_rows for table in tables)
    generations = tuple(table["generation"][0].as_py() for table in tables)
    pool = Pool(tuple(map(str, range(len(tables)))), generations, sizes, load=None)
    before = [heritage.held(parent, part, table) for part, table in enumerate(tables)]
    return layout.apply(Local(), pool, tables, before, WriteConfig(shard_samples=4), parent)


def parent_of(placed: list[pa.Table]) -> Parent:
    held = [shard for table in placed for shard in table["shard"].to_pylist() if shard is not None]
    return Parent(len(placed), tuple(np.bincount(held).tolist()), placed.__getitem__)


def in_shards(placed: list[pa.Table]) -> dict[int, list[str]]:
    """Shard → its keys in order; positions have no gap."""
    found = defaultdict(dict)
    for row in pa.concat_tables(placed).to_pylist():
        if row["shard"] is not None:
            assert row["position"] not in found[row["shard"]]
            found[row["shard"]][row["position"]] = row["shard_key"]
    assert sorted(found) == list(range(len(found)))
    for keys in found.values():
        assert sorted(keys) == list(range(len(keys)))
    return {shard: [keys[at] for at in sorted(keys)] for shard, keys in sorted(found.items())}


def test_children_of_random_snapshots_keep_their_parents_shards():
    random = np.random.default_rng(7)
    for _ in range(150):
        parts, placed, parent = [], [], Parent()
        for generation in range(3):
            kept = [table["reason"].is_null().to_pylist() for table in parts]
            kept = [[stands != (random.random() < 0.2) for stands in part] for part in kept]
            uids = [[int.from_bytes(uid) for uid in part["uid"].to_pylist()] for part in parts]
            kept += [(random.random(size) < 0.7).tolist() for size in random.integers(1, 9, 2)]
            uids += [random.integers(0, 6, len(part)).tolist() for part in kept[len(uids) :]]
            given = [table["generation"][0].as_py() for table in parts] + [generation] * 2
            firsts = [0, *itertools.accumulate(map(len, kept))]
            parts = [
                judged(stands, named, [age] * len(stands), first)
                for stands, named, age, first in zip(kept, uids, given, firsts, strict=False)
            ]
            before, (placed, spans, taken) = placed, laid_out(parts, parent)
            holds_what_it_should(before, parts, placed, spans, taken)
            parent = parent_of(placed)


def holds_what_it_should(before, parts, placed, spans, taken) -> None:
    shards, old = in_shards(placed), in_shards(before) if before else {}
    assert sum(map(len, shards.values())) == sum(t["reason"].null_count for t in parts)
    keys = [key for held in shards.values() for key in held]
    assert len(set(keys)) == len(keys)
    stand = {
        was["shard_key"]
        for table, was_table in zip(parts, before, strict=False)
        for row, was in zip(table.to_pylist(), was_table.to_pylist(), strict=True)
        if row["reason"] is None and was["shard"] is not None
    }
    stay = [[key for key in held if key in stand] for held in old.values()]
    assert [shards[n] for n in range(len(taken.heirs))] == [held for held in stay if held]
    for number, shard in enumerate(taken.heirs):
        gone = [at for at, key in enumerate(old[shard]) if key not in stand]
        assert taken.leaving(shard) == gone
        assert len(shards[number]) == len(old[shard]) - len(gone)
    for table, row, span in zip(placed, parts, spans, strict=True):
        at = [s for s in table["shard"].to_pylist() if s is not None and s >= len(taken.heirs)]
        assert sorted(set(at)) == (list(range(span.first, span.last + 1)) if span else [])
        names = [uid.hex() for uid in row["uid"].to_pylist()]
        for uid, key in zip(names, table["shard_key"].to_pylist(), strict=True):
            assert key is None or key.partition("-")[0] == uid


def test_a_repeat_that_enters_is_numbered_after_all_that_stay():
    first, _, _ = laid_out([judged([1, 1, 1], [7, 7, 7], [0] * 3)], Parent())
    assert first[0]["shard_key"].to_pylist()[1:] == [f"{7:032x}-1", f"{7:032x}-2"]
    parts = [judged([0, 0, 1], [7, 7, 7], [0] * 3), judged([1, 1], [7, 7], [1] * 2, 3)]
    placed, _, taken = laid_out(parts, parent_of(first))
    keys = pa.concat_tables(placed)["shard_key"].to_pylist()
    assert keys == [None, None, f"{7:032x}-2", f"{7:032x}-3", f"{7:032x}-4"]
    assert taken.leaving(0) == [0, 1]


def test_a_shard_that_keeps_nothing_is_no_heir_and_the_next_takes_its_number():
    first, _, _ = laid_out([judged([1] * 9, range(9), [0] * 9)], Parent())
    parts = [judged([0] * 4 + [1] * 5, range(9), [0] * 9)]
    placed, spans, taken = laid_out(parts, parent_of(first))
    assert taken.heirs == [1, 2]
    assert placed[0]["shard"].to_pylist() == [None] * 4 + [0] * 4 + [1]
    assert spans == [None]


def test_a_parents_plan_of_other_rows_is_refused():
    rows = judged([1, 1], [1, 2], [0, 0])
    parent = Parent(1, (1,), lambda part: heritage.HELD.empty_table())
    with pytest.raises(HeadraceError, match="part 0 of the parent's plan has 0 rows"):
        heritage.held(parent, 0, rows)
