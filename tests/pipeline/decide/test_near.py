"""Pairs of near hashes, against the plainest way to find them."""

import numpy as np
import pytest

from pipeline.decide import near
from pipeline.decide.near import Index, near_pairs, refuse_too_many
from pipeline.format.errors import HeadraceError


def clustered(random: np.random.Generator, count: int) -> np.ndarray:
    """Random 256-bit hashes, of which many differ from another in a few bits."""
    centres = random.integers(0, 256, (max(1, count // 4), 32), np.uint8)
    found = centres[random.integers(len(centres), size=count)]
    for row in found:
        for bit in random.integers(0, 256, random.integers(0, 40)):
            row[bit // 8] ^= 1 << (bit % 8)
    return found


def positions(random: np.random.Generator, hashes: np.ndarray) -> np.ndarray:
    """Queries that are like the hashes in one of their eight positions, and random in others."""
    queries = random.integers(0, 256, (len(hashes), 8, 32), np.uint8)
    queries[np.arange(len(hashes)), random.integers(0, 8, len(hashes))] = hashes
    return queries


def brute_force(index: np.ndarray, queries: np.ndarray, radius: int) -> list[tuple[int, int, int]]:
    found = []
    for i, eight in enumerate(queries):
        for j, other in enumerate(index):
            apart = [int.from_bytes(one) ^ int.from_bytes(other) for one in eight]
            bits = min(one.bit_count() for one in apart)
            if bits <= radius:
                found.append((i, j, bits))
    return found


def as_list(found: near.Found) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in found), strict=True))


@pytest.fixture(params=["one by one", "by words"])
def way(request, monkeypatch):
    """Both ways to search, whatever the size of the index."""
    monkeypatch.setattr(near, "BY_WORDS_FROM", 0 if request.param == "by words" else 10**9)
    return request.param


@pytest.mark.parametrize("radius", [0, 5, 15, 16, 31, 40, 255])
def test_all_pairs_within_the_radius_are_found_in_order(way, radius):
    random = np.random.default_rng(radius)
    index = clustered(random, 60)
    queries = positions(random, clustered(random, 20))
    queries[:10, 3] = index[5:15]
    found = near_pairs(index, queries, radius)
    assert as_list(found) == brute_force(index, queries, radius)
    assert len(found[0]) >= 10
    assert [column.dtype for column in found] == [np.int64, np.int64, np.int16]


@pytest.mark.parametrize("bits", [15, 16, 31, 32])
def test_bits_that_are_spread_as_evenly_as_can_be_are_found(way, bits):
    """One or two differing bits in every word of 16: the worst case of the search by words."""
    index = np.random.default_rng(bits).integers(0, 256, (300, 32), np.uint8)
    queries = np.repeat(index[:, None], 8, axis=1)
    for bit in range(bits):
        queries[:, :, (bit * 2 + bit // 16) % 32] ^= 1 << (bit % 7)
    at, row, apart = near_pairs(index, queries, 31)
    assert at.tolist() == row.tolist() == (list(range(300)) if bits <= 31 else [])
    assert set(apart.tolist()) <= {bits}


def test_pieces_do_not_show_in_the_pairs(way, monkeypatch):
    random = np.random.default_rng(2)
    index = clustered(random, 200)
    whole = as_list(near_pairs(index, positions(random, index), 31))
    monkeypatch.setattr(near, "CANDIDATES", 7)
    random = np.random.default_rng(2)
    index = clustered(random, 200)
    assert as_list(near_pairs(index, positions(random, index), 31)) == whole


def test_both_ways_find_the_same_in_a_larger_index(monkeypatch):
    random = np.random.default_rng(3)
    index = clustered(random, 3000)
    queries = positions(random, index[:500])
    slow = as_list(near_pairs(index, queries, 31))
    monkeypatch.setattr(near, "BY_WORDS_FROM", 0)
    assert as_list(near_pairs(index, queries, 31)) == slow
    assert len(slow) > 500


def test_an_index_can_be_searched_again(way):
    random = np.random.default_rng(4)
    hashes = clustered(random, 50)
    index, queries = Index(hashes), positions(random, hashes)
    assert as_list(index.search(queries, 31)) == as_list(index.search(queries, 31))
    assert len(index.search(queries[:7], 31)[0]) >= 7


@pytest.mark.parametrize(("index", "queries"), [(0, 3), (3, 0), (0, 0)])
def test_no_hashes_have_no_pairs(way, index, queries):
    hashes = np.zeros((index, 32), np.uint8)
    assert as_list(near_pairs(hashes, np.zeros((queries, 8, 32), np.uint8), 31)) == []


def test_equal_hashes_are_each_found_once(way):
    found = near_pairs(np.zeros((40, 32), np.uint8), np.zeros((3, 8, 32), np.uint8), 31)
    assert as_list(found) == [(i, j, 0) for i in range(3) for j in range(40)]


def test_a_crowd_of_equal_hashes_is_refused(way, monkeypatch):
    monkeypatch.setattr(near, "MAX_PAIRS", 100)
    hashes, queries = np.zeros((40, 32), np.uint8), np.zeros((3, 8, 32), np.uint8)
    assert len(near_pairs(hashes[:33], queries, 31)[0]) == 99
    with pytest.raises(HeadraceError, match="more than 100 pairs within 31 bits"):
        near_pairs(hashes, queries, 31)


def test_more_rows_than_can_be_searched_are_refused():
    refuse_too_many(near.MAX_ROWS, 31)
    refuse_too_many(near.MAX_ROWS_WIDE, 32)
    with pytest.raises(
        HeadraceError, match=r"5,000,001 images .* within 31 bits .* 97% of planted"
    ):
        refuse_too_many(near.MAX_ROWS + 1, 31)
    with pytest.raises(HeadraceError, match="up to 1,000,000"):
        refuse_too_many(near.MAX_ROWS_WIDE + 1, 32)
