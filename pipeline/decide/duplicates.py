"""Duplicates, resolved greedily in keeper order.

A row falls if and only if an earlier *kept* row has its bytes or lies within the radius. So every
duplicate is close to the keeper that it names, nothing chains, and a new image can never change
an old verdict.
"""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from pipeline.decide.near import PDQ_RADIUS, hashed_rows, hashes, near_pairs
from pipeline.decide.verdict import Mask, Reason, Verdicts
from pipeline.settings import Settings


class DuplicatesConfig(Settings):
    """Which images count as one."""

    radius: int | None = Field(default=PDQ_RADIUS, ge=0, le=255)
    """Largest number of differing hash bits, of 256; null looks for equal bytes only."""


def drop_duplicates(
    verdicts: Verdicts,
    rows: pa.Table,
    order: npt.NDArray[np.int64],
    config: DuplicatesConfig,
) -> None:
    """Drops all but the first of each set of equal or near-equal images.

    Contaminated rows count as the first keepers of their generation: what is like them falls
    with them, but for what an older snapshot already kept.
    """
    contaminated = np.array([r == Reason.CONTAMINATED for r in verdicts.reason], bool)
    candidates = verdicts.kept | contaminated
    order = order[candidates[order]]
    generation = rows["generation"].to_numpy()
    order = order[np.lexsort((~contaminated[order], generation[order]))]
    neighbours = _neighbours(rows, candidates, config.radius)
    shas = rows["sha256"].to_pylist()
    keeper_of: dict[str, int] = {}
    keeps: Mask = np.zeros(rows.num_rows, bool)
    name = _namer(rows)
    for row in order.tolist():
        near = [(bits, other) for other, bits in neighbours[row] if keeps[other]]
        if contaminated[row] or (shas[row] not in keeper_of and not near):
            keeps[row] = True
            keeper_of.setdefault(shas[row], row)
        elif shas[row] in keeper_of:
            detail = f"same bytes as {name(keeper_of[shas[row]])}"
            verdicts.drop_row(row, Reason.EXACT_DUPLICATE, detail)
        else:
            bits, other = min(near)
            verdicts.drop_row(row, Reason.NEAR_DUPLICATE, f"{bits} bits from {name(other)}")


def _neighbours(
    rows: pa.Table, candidates: Mask, radius: int | None
) -> defaultdict[int, list[tuple[int, int]]]:
    """For each row, the candidates within the radius, as (row, bits)."""
    found: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    if radius is None:
        return found
    usable = hashed_rows(rows)
    usable = usable[candidates[usable]]
    words = hashes(rows, usable)
    for i, j, bits in near_pairs(words, words, radius):
        if i != j:
            found[int(usable[i])].append((int(usable[j]), bits))
    return found


def _namer(rows: pa.Table) -> Callable[[int], str]:
    sources, keys, offsets = (rows[c].to_pylist() for c in ("source", "key", "offset"))
    return lambda row: f"{sources[row]}#{keys[row]}@{offsets[row]}"
