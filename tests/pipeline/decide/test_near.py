"""Pairs of near hashes, against the plainest way to find them."""

import numpy as np
import pytest

from pipeline.decide.near import MIN_QUALITY, hashed_rows, hashes, near_pairs
from tests.pipeline.making import rows


def clustered(random: np.random.Generator, count: int) -> np.ndarray:
    """Random 256-bit hashes, of which many differ from another in a few bits."""
    centres = random.integers(0, 256, (max(1, count // 4), 32), np.uint8)
    found = centres[random.integers(len(centres), size=count)]
    for row in found:
        for bit in random.integers(0, 256, random.integers(0, 40)):
            row[bit // 8] ^= 1 << (bit % 8)
    return found


def brute_force(left: np.ndarray, right: np.ndarray, radius: int) -> list[tuple[int, int, int]]:
    found = []
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            bits = sum((int(a) ^ int(b)).bit_count() for a, b in zip(one, other, strict=True))
            if bits <= radius:
                found.append((i, j, bits))
    return found


@pytest.mark.parametrize("radius", [0, 5, 31, 255])
def test_all_pairs_within_the_radius_are_found_in_order(radius):
    random = np.random.default_rng(radius)
    left, right = clustered(random, 40), clustered(random, 30)
    right[:10] = left[5:15]
    words = near_pairs(left.view(np.uint64), right.view(np.uint64), radius)
    assert words == brute_force(left, right, radius)
    assert words


def test_chunks_do_not_show_in_the_pairs(monkeypatch):
    left = clustered(np.random.default_rng(2), 100).view(np.uint64)
    whole = near_pairs(left, left, 31)
    monkeypatch.setattr("pipeline.decide.near.ROWS_AT_ONCE", 7)
    assert near_pairs(left, left, 31) == whole


def test_the_border_of_the_radius_belongs_to_it():
    zero = np.zeros((1, 4), np.uint64)
    other = np.array([[2**31 - 1, 0, 0, 0], [2**32 - 1, 0, 0, 0], [0, 0, 0, 2**31 - 1]], np.uint64)
    assert near_pairs(zero, other, 31) == [(0, 0, 31), (0, 2, 31)]


@pytest.mark.parametrize(("left", "right"), [(0, 3), (3, 0), (0, 0)])
def test_no_hashes_have_no_pairs(left, right):
    assert near_pairs(np.zeros((left, 4), np.uint64), np.zeros((right, 4), np.uint64), 31) == []


def test_only_hashes_of_enough_quality_are_compared():
    table = rows(
        {"phash": b"a" * 32, "phash_quality": MIN_QUALITY},
        {"phash": b"b" * 32, "phash_quality": MIN_QUALITY - 1},
        {"phash": None, "phash_quality": None},
        {"phash": b"c" * 32, "phash_quality": 100},
    )
    chosen = hashed_rows(table)
    assert chosen.tolist() == [0, 3]
    assert hashes(table, chosen).tobytes() == b"a" * 32 + b"c" * 32
    assert hashes(table, chosen[:0]).shape == (0, 4)
