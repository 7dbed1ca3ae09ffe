"""Shards of bounded size, and keys that are unique."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from pipeline.decide import heritage, layout
from pipeline.decide.engine import Local
from pipeline.decide.heritage import Parent
from pipeline.decide.layout import WriteConfig
from pipeline.decide.pool import Pool
from pipeline.decide.verdict import JUDGED


def placed(kept, uids=None, nbytes=None, generations=(0,), parts=(), **config):
    """The places of rows, of which some are kept, in parts that begin at `parts`."""
    count = len(kept)
    facts = [
        {
            "row": number,
            "reason": None if kept[number] else "too_small",
            "uid": (uids[number] if uids else number).to_bytes(16),
            "nbytes": nbytes[number] if nbytes else 100,
        }
        for number in range(count)
    ]
    edges = [0, *parts, count]
    tables = []
    for part, (begin, end) in enumerate(itertools.pairwise(edges)):
        rows = [row | {"generation": generations[part]} for row in facts[begin:end]]
        tables.append(pa.Table.from_pylist(rows, JUDGED))
    sizes = tuple(table.num_rows for table in tables)
    pool = Pool(tuple(map(str, range(len(tables)))), generations, sizes, load=None)
    before = [heritage.held(Parent(), part, table) for part, table in enumerate(tables)]
    found, spans, _ = layout.apply(Local(), pool, tables, before, WriteConfig(**config), Parent())
    for table, span in zip(found, spans, strict=True):
        held = sorted({shard for shard in table["shard"].to_pylist() if shard is not None})
        assert held == (list(range(span.first, span.last + 1)) if span else [])
    return pa.concat_tables(found).to_pydict()


def key(uid: int) -> str:
    return uid.to_bytes(16).hex()


def test_kept_rows_fill_shards_in_order_and_others_have_no_place():
    found = placed([1, 0, 1, 1, 0, 1, 1], shard_samples=2)
    assert found["shard"] == [0, None, 0, 1, None, 1, 2]
    assert found["position"] == [0, None, 1, 0, None, 1, 0]
    assert found["shard_key"] == [key(0), None, key(2), key(3), None, key(5), key(6)]


def test_a_shard_holds_no_more_bytes_than_it_may():
    sizes = np.random.default_rng(1).integers(1, 5000, 200).tolist()
    found = placed([1] * 200, nbytes=sizes, shard_bytes=20_000)
    held = [[] for _ in range(max(found["shard"]) + 1)]
    for size, shard in zip(sizes, found["shard"], strict=True):
        held[shard].append(size + 1024)
    assert all(sum(shard) <= 20_000 for shard in held)
    for before, after in itertools.pairwise(held):
        assert sum(before) + after[0] > 20_000, "closed too early"


def test_a_huge_sample_has_a_shard_of_its_own():
    found = placed([1] * 4, nbytes=[10, 10**9, 10, 10], shard_bytes=10_000)
    assert found["shard"] == [0, 1, 2, 2]
    assert placed([1], nbytes=[10**9], shard_bytes=10)["shard"] == [0]


def test_nothing_kept_has_no_shard():
    assert placed([0, 0])["shard"] == [None, None]
    assert placed([])["shard"] == []


@pytest.mark.parametrize("limits", [{"shard_samples": 7}, {"shard_bytes": 30_000}])
def test_shards_do_not_depend_on_how_the_pool_is_parted(limits):
    random = np.random.default_rng(2)
    for _ in range(30):
        kept = random.integers(0, 2, 60).tolist()
        sizes = random.integers(1, 9000, 60).tolist()
        uids = random.integers(0, 20, 60).tolist()
        parts = sorted(random.integers(0, 61, 6).tolist())
        whole = placed(kept, uids, sizes, **limits)
        assert placed(kept, uids, sizes, (0,) * 7, parts, **limits) == whole


def test_each_generation_has_shards_of_its_own_the_oldest_first():
    found = placed([1] * 6, generations=(1, 0, 1), parts=(2, 4), shard_samples=3)
    assert found["shard"] == [1, 1, 0, 0, 1, 2]
    assert found["position"] == [0, 1, 0, 1, 2, 0]


def test_repeats_of_a_uid_are_numbered():
    found = placed([1, 1, 0, 1], uids=[7, 7, 7, 7])["shard_key"]
    assert found == [key(7), f"{key(7)}-1", None, f"{key(7)}-2"]


def test_a_repeat_in_an_older_generation_comes_before():
    found = placed([1, 1], uids=[7, 7], generations=(1, 0), parts=(1,))["shard_key"]
    assert found == [f"{key(7)}-1", key(7)]


def test_keys_are_unique_for_random_uids():
    random = np.random.default_rng(4)
    for _ in range(50):
        uids = random.integers(0, 4, 12).tolist()
        keys = placed([1] * 12, uids, generations=(0, 1), parts=(5,))["shard_key"]
        assert len(set(keys)) == 12
        assert [name[:32] for name in keys] == [key(uid) for uid in uids]
