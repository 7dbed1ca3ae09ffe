"""Shards of bounded size, and keys that are unique."""

import numpy as np
import pytest

from pipeline.decide.layout import WriteConfig, place


def placed(kept, uids=None, nbytes=None, **config):
    count = len(kept)
    uids = uids or [f"u{n}" for n in range(count)]
    found = place(np.array(kept, bool), uids, nbytes or [100] * count, WriteConfig(**config))
    return {name: column.to_pylist() for name, column in found.items()}


def test_kept_rows_fill_shards_in_order_and_others_have_no_place():
    found = placed([1, 0, 1, 1, 0, 1, 1], shard_samples=2)
    assert found["shard"] == [0, None, 0, 1, None, 1, 2]
    assert found["position"] == [0, None, 1, 0, None, 1, 0]
    assert found["shard_key"] == ["u0", None, "u2", "u3", None, "u5", "u6"]


def test_a_shard_holds_no_more_bytes_than_it_may():
    sizes = np.random.default_rng(1).integers(1, 5000, 200).tolist()
    found = placed([1] * 200, nbytes=sizes, shard_bytes=20_000)
    for shard in range(max(found["shard"]) + 1):
        held = [size for size, at in zip(sizes, found["shard"], strict=True) if at == shard]
        assert sum(held) <= 20_000
        assert held
    nexts = [n for n in range(1, 200) if found["position"][n] == 0]
    for first in nexts:
        before = [
            s
            for s, at in zip(sizes, found["shard"], strict=True)
            if at == found["shard"][first] - 1
        ]
        assert sum(before) + sizes[first] + 1024 * (len(before) + 1) > 20_000, "closed too early"


def test_a_huge_sample_has_a_shard_of_its_own():
    found = placed([1] * 4, nbytes=[10, 10**9, 10, 10], shard_bytes=10_000)
    assert found["shard"] == [0, 1, 2, 2]
    assert placed([1], nbytes=[10**9], shard_bytes=10)["shard"] == [0]


def test_nothing_kept_has_no_shard():
    assert placed([0, 0])["shard"] == [None, None]
    assert placed([])["shard"] == []


def test_repeats_of_a_uid_are_numbered():
    assert placed([1, 1, 0, 1], ["a", "a", "a", "a"])["shard_key"] == ["a", "a-1", None, "a-2"]


@pytest.mark.parametrize(
    "uids",
    [
        ["a", "a", "a-1"],
        ["a-1", "a", "a"],
        ["a", "a-1", "a"],
        ["a-1", "a-1", "a", "a", "a", "a-1-1", "a-2"],
    ],
)
def test_keys_stay_unique_when_a_uid_looks_like_a_numbered_repeat(uids):
    keys = placed([1] * len(uids), uids)["shard_key"]
    assert len(set(keys)) == len(uids)
    assert all(key.startswith(uid) for key, uid in zip(keys, uids, strict=True))


def test_keys_are_unique_for_random_uids():
    random = np.random.default_rng(4)
    for _ in range(50):
        uids = ["-".join(map(str, random.integers(0, 2, random.integers(1, 4)))) for _ in range(12)]
        keys = placed([1] * 12, uids)["shard_key"]
        assert len(set(keys)) == 12
