"""Keys that are given away twice come together however the plan is cut."""

import hashlib
from collections import Counter

import pyarrow as pa

from pipeline import plan
from pipeline.format.snapshot import Snapshot
from pipeline.verify import verdicts


def part(dataset: str, number: int, shard_keys: list[str | None]) -> None:
    rows = [dict.fromkeys(plan.PLAN_SCHEMA.names) | {"shard_key": key} for key in shard_keys]
    plan.write_part(dataset, number, pa.Table.from_pylist(rows, plan.PLAN_SCHEMA))


def test_each_key_that_is_given_twice_is_counted_once_with_its_first_row(memory):
    part(memory, 0, ["a", None, "b"])
    part(memory, 1, [None, "b", "c", "b", None])
    rows = pa.concat_tables([verdicts.keys(memory, 0, 0), verdicts.keys(memory, 1, 3)])
    assert rows["row"].to_pylist() == [0, 2, 4, 5, 6]
    assert verdicts.repeated(rows).to_pylist() == [{"row": 2, "key": "b", "images": 3}]


def test_keys_that_are_all_different_leave_nothing(memory):
    part(memory, 0, ["a", None, "b"])
    assert verdicts.repeated(verdicts.keys(memory, 0, 0)).num_rows == 0
    assert verdicts.repeated(verdicts.keys(memory, 0, 0).slice(0, 0)).num_rows == 0


def test_a_shard_knows_the_parts_that_it_has_rows_of():
    parts = [verdicts.Part(n, (), shards=shards) for n, shards in enumerate([(0,), (0, 2), ()])]
    assert verdicts.parts_of_shards(parts) == {0: [0, 1], 2: [1]}


def test_a_plan_is_named_by_its_parts_and_verdicts_and_an_older_one_by_its_verdicts():
    def damages(plan_sha256: str) -> list[str]:
        snapshot = Snapshot("memory://a", "b", None, {}, plan_sha256, {"kept": 1}, 0, (), {}, {})
        parts = [verdicts.Part(0, (), b"1" * 32, Counter(kept=1))]
        return list(verdicts.check_whole(snapshot, ["one"], parts))

    assert damages(plan.name_of(["one"], [b"1" * 32])) == []
    assert damages(hashlib.sha256(b"1" * 32).hexdigest()) == []
    for other in (plan.name_of(["two"], [b"1" * 32]), plan.name_of(["one"], [b"2" * 32])):
        assert "not the verdicts that plan_sha256 names" in damages(other)[0]
