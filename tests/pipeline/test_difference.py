"""What became of shards and settings, on cases small enough to be seen through."""

import pyarrow as pa

from pipeline import difference
from pipeline.difference import changed
from pipeline.format.snapshot import Shard
from tests.pipeline.format.test_snapshot import snapshot


def shards(*names: str) -> tuple[Shard, ...]:
    return tuple(Shard(f"shards/{name}.tar", 1, 1, name) for name in names)


def sorted_out(before: str, after: str, carried: set[tuple[int, int]]) -> dict[str, str]:
    """Names of one letter, by what became of them."""
    old, new = snapshot("a", shards=shards(*before)), snapshot("b", shards=shards(*after))
    found = vars(difference.shards(old, new, carried))
    return {kind: "".join(one.sha256 for one in those) for kind, those in found.items() if those}


def test_a_shard_that_lost_an_image_is_rewritten_and_one_that_lost_all_is_removed():
    carried = {(0, 0), (1, 1), (3, 2)}
    assert sorted_out("abcd", "aBdx", carried) == {
        "added": "x",
        "shared": "ad",
        "rewritten": "B",
        "removed": "c",
    }


def test_when_the_last_shard_goes_a_new_one_in_its_place_is_added():
    assert sorted_out("ab", "ax", {(0, 0)}) == {"added": "x", "shared": "a", "removed": "b"}


def test_a_full_rewrite_is_one_whatever_went_where():
    carried = {(0, 1), (1, 0), (1, 1)}
    assert sorted_out("ab", "xy", carried) == {"rewritten": "xy"}


def test_images_of_both_are_carried_and_no_others():
    before = pa.table({"shard": pa.array([0, 0, 1, None, 2], pa.int32())})
    after = pa.table({"shard": pa.array([0, None, 3, 4, 5], pa.int32())})
    assert difference.carried(before, after) == {(0, 0), (1, 3), (2, 5)}
    assert difference.carried(before.slice(3), after.slice(0, 2)) == set()


def test_a_part_that_one_pool_has_not_counts_as_not_in_pool():
    part = pa.table({"reason": pa.array([None, "too_small", None], pa.string())})
    assert difference.moves(None, part) == {
        ("not_in_pool", "kept"): 2,
        ("not_in_pool", "too_small"): 1,
    }
    assert difference.moves(part, None)["kept", "not_in_pool"] == 2
    assert difference.moves(part.slice(0, 0), part.slice(0, 0)) == {}


def test_settings_are_compared_one_by_one():
    old = {"a": {"b": 1, "c": [1]}, "gone": 1, "same": {"x": 1}, "off": None}
    new = {"a": {"b": 2, "c": [1, 2]}, "come": {"y": 3}, "same": {"x": 1}, "off": None}
    assert changed(old, new) == {
        "a.b": (1, 2),
        "a.c": ([1], [1, 2]),
        "gone": (1, None),
        "come.y": (None, 3),
    }
