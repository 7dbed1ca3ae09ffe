"""Pairs of rows that look alike: few bits of their perceptual hashes differ, turned or not."""

import hashlib
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.decide.engine import Engine, Handle
from pipeline.decide.greedy import Pairs, together
from pipeline.decide.near import Index, refuse_too_many
from pipeline.decide.pool import Load, Pool
from pipeline.decide.verdict import standing, stands_in
from pipeline.decide.views import VIEWS, Compared, View, columns, good, hashes


def pairs(engine: Engine, pool: Pool, tables: list[Handle], views: Compared) -> Pairs:
    """All pairs of rows that stand, or stand in for others, within the radius of one of the views.

    A view's hashes of these rows as they are, 32 bytes each, are shared with every worker; no
    process holds more of them than that, and only pairs come back.
    """
    return together(
        [_of_view(engine, pool, tables, view, radius) for view, radius in views.items()]
    )


def _of_view(engine: Engine, pool: Pool, tables: list[Handle], view: View, radius: int) -> Pairs:
    hashed = engine.map(hashed_rows, repeat(pool.load), pool.parts, tables, repeat(view))
    upright = [engine.get(part) for part in engine.map(upright_hashes, hashed, repeat(view))]
    number = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in upright)])
    known = np.concatenate([np.zeros((0, 32), np.uint8), *(found for _, found in upright)])
    refuse_too_many(len(known), radius)
    shared = engine.share((hashlib.sha256(known.tobytes()).digest(), number, known))
    found = engine.map(search, hashed, repeat(view), repeat(shared), repeat(radius))
    left, right, bits = (
        np.concatenate([np.zeros(0, np.int64), *column])
        for column in zip(*([engine.get(part) for part in found] or [((), (), ())]), strict=True)
    )
    kind = np.full(len(left), VIEWS.index(view), np.int8)
    return Pairs(left, right, kind, bits.astype(np.float64))


def hashed_rows(load: Load, part: str, rows: pa.Table, view: View) -> pa.Table:
    """Number and hashes of the rows of a part whose hash has the quality to be compared."""
    facts = load(part, columns([view]))
    chosen = pa.array(good(facts, view) & (standing(rows) | stands_in(rows)))
    return pa.table(
        {"row": rows["row"].filter(chosen), "hashes": facts[view.hashes].filter(chosen)}
    )


def upright_hashes(
    rows: pa.Table, view: View
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Numbers (n,) and hashes (n, 32) of images as they are."""
    return rows["row"].to_numpy(), hashes(rows["hashes"].to_pylist(), view)[:, 0]


def search(
    rows: pa.Table,
    view: View,
    others: tuple[bytes, npt.NDArray[np.int64], npt.NDArray[np.uint8]],
    radius: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs of these rows, in any of their positions, with the others: numbers and bits."""
    name, number, known = others
    at, other, bits = _index(name, known).search(hashes(rows["hashes"].to_pylist(), view), radius)
    left, right = rows["row"].to_numpy()[at], number[other]
    apart = left != right
    return left[apart], right[apart], bits[apart].astype(np.int64)


_last: dict[bytes, Any] = {}
"""The index that this process built last: it serves many tables."""


def _index(name: bytes, known: npt.NDArray[np.uint8]) -> Index:
    if name not in _last:
        _last.clear()
        _last[name] = Index(known)
    return _last[name]
