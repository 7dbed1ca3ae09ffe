"""Pairs of rows that look alike: few bits of their perceptual hashes differ, turned or not."""

import hashlib
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.decide.engine import Engine, Handle
from pipeline.decide.greedy import Pairs
from pipeline.decide.near import MIN_QUALITY, Index, refuse_too_many
from pipeline.decide.pool import Load, Pool
from pipeline.decide.verdict import standing, stands_in

KIND = 0
PHASHES = ("phashes", "phash_quality")


def pairs(engine: Engine, pool: Pool, tables: list[Handle], radius: int) -> Pairs:
    """All pairs of rows that stand, or stand in for others, within the radius.

    The upright hashes of all these rows, 32 bytes each, are shared with every worker; no process
    holds more of them than that, and only pairs come back.
    """
    hashed = engine.map(hashed_rows, repeat(pool.load), pool.parts, tables)
    upright = [engine.get(part) for part in engine.map(upright_hashes, hashed)]
    number = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in upright)])
    hashes = np.concatenate([np.zeros((0, 32), np.uint8), *(found for _, found in upright)])
    refuse_too_many(len(hashes), radius)
    shared = engine.share((hashlib.sha256(hashes.tobytes()).digest(), number, hashes))
    found = engine.map(search, hashed, repeat(shared), repeat(radius))
    left, right, bits = (
        np.concatenate([np.zeros(0, np.int64), *column])
        for column in zip(*([engine.get(part) for part in found] or [((), (), ())]), strict=True)
    )
    return Pairs(left, right, np.full(len(left), KIND, np.int8), bits.astype(np.float64))


def hashed_rows(load: Load, part: str, rows: pa.Table) -> pa.Table:
    """Number and eight hashes of the rows of a part whose hash has the quality to be compared."""
    facts = load(part, PHASHES)
    good = facts["phash_quality"].fill_null(-1).to_numpy() >= MIN_QUALITY
    chosen = pa.array(good & (standing(rows) | stands_in(rows)))
    columns = {"row": rows["row"].filter(chosen), "phashes": facts["phashes"].filter(chosen)}
    return pa.table(columns)


def _variants(rows: pa.Table) -> npt.NDArray[np.uint8]:
    joined = b"".join(rows["phashes"].to_pylist())
    return np.frombuffer(joined, np.uint8).reshape(-1, 8, 32)


def upright_hashes(rows: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Numbers (n,) and hashes (n, 32) of images as they are."""
    return rows["row"].to_numpy(), _variants(rows)[:, 0]


def search(
    rows: pa.Table, others: tuple[bytes, npt.NDArray[np.int64], npt.NDArray[np.uint8]], radius: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs of these rows, in any of their eight positions, with the others: numbers and bits."""
    name, number, hashes = others
    at, other, bits = _index(name, hashes).search(_variants(rows), radius)
    left, right = rows["row"].to_numpy()[at], number[other]
    apart = left != right
    return left[apart], right[apart], bits[apart].astype(np.int64)


_last: dict[bytes, Any] = {}
"""The index that this process built last: it serves many tables."""


def _index(name: bytes, hashes: npt.NDArray[np.uint8]) -> Index:
    if name not in _last:
        _last.clear()
        _last[name] = Index(hashes)
    return _last[name]
