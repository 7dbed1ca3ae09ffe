"""Pairs of 256-bit hashes that differ in few bits."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

PDQ_RADIUS = 31
"""Bits within which PDQ's authors call two of its hashes the same picture."""

MIN_QUALITY = 50
"""PDQ's authors advise to discard hashes of lower quality: flat images all look alike to it."""

ROWS_AT_ONCE = 256

Rows = npt.NDArray[np.int64]


def hashed_rows(table: pa.Table) -> Rows:
    """Row numbers whose perceptual hash has the quality to be compared."""
    return np.flatnonzero(table["phash_quality"].fill_null(-1).to_numpy() >= MIN_QUALITY)


def hashes(table: pa.Table, rows: Rows) -> npt.NDArray[np.uint64]:
    """The perceptual hashes of these rows as (n, 4) words."""
    column = table["phash"].take(pa.array(rows)).to_pylist()
    return np.frombuffer(b"".join(column), np.uint64).reshape(-1, 4)


def near_pairs(
    left: npt.NDArray[np.uint64], right: npt.NDArray[np.uint64], radius: int
) -> list[tuple[int, int, int]]:
    """All (i, j, bits) with at most `radius` differing bits between left[i] and right[j].

    Exhaustive: the work grows with the product of both lengths, the memory with `right` and the
    pairs found. Ordered by (i, j).
    """
    pairs: list[tuple[int, int, int]] = []
    for at in range(0, len(left), ROWS_AT_ONCE):
        chunk = left[at : at + ROWS_AT_ONCE]
        distance = np.zeros((len(chunk), len(right)), np.uint16)
        for word in range(4):
            distance += np.bitwise_count(chunk[:, None, word] ^ right[None, :, word])
        i, j = np.nonzero(distance <= radius)
        pairs += zip((i + at).tolist(), j.tolist(), distance[i, j].tolist(), strict=True)
    return pairs
