"""Contact sheets: a few images of each verdict."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decide.verdict import Reason
from pipeline.report.funnel import Funnel
from pipeline.report.reasons import KEPT, Words, words

KEPT_SHOWN, DROPPED_SHOWN, UNREADABLE_SHOWN = 24, 16, 8
"""Images on a sheet, eight in a row of it. Unreadable ones have a list of their own."""


@dataclass(frozen=True)
class Sheet:
    """Some of the images that met one verdict, by their numbers in the pool; `total` in all."""

    reason: str
    words: Words
    total: int
    rows: tuple[int, ...]


def sheets(rows: pa.Table, counts: Funnel) -> list[Sheet]:
    """The kept sheet, then one for each reason that dropped anything, in the funnel's order."""
    found = [Sheet(KEPT, words(KEPT), counts.kept, _pick(rows, None, KEPT_SHOWN))]
    for step in counts.steps:
        shown = UNREADABLE_SHOWN if step.reason == Reason.UNREADABLE else DROPPED_SHOWN
        picked = _pick(rows, step.reason, shown)
        found.append(Sheet(step.reason, step.words, step.dropped, picked))
    return [sheet for sheet in found if sheet.rows]


def unreadable(rows: pa.Table, shown: int) -> list[int]:
    """The first unreadable rows, in pool order."""
    found: list[int] = _with_reason(rows, Reason.UNREADABLE)[:shown].tolist()
    return found


def _pick(rows: pa.Table, reason: str | None, shown: int) -> tuple[int, ...]:
    """The rows with the lowest uids: a fixed choice that has nothing to do with their content."""
    numbers = _with_reason(rows, reason)
    return lowest_uids(numbers, rows["uid"].take(pa.array(numbers)), shown)


def lowest_uids(numbers: np.ndarray, uids: pa.ChunkedArray, shown: int) -> tuple[int, ...]:
    """The numbers of the rows with the lowest uids, in their order."""
    table = pa.table({"uid": uids, "row": numbers})
    order = [("uid", "ascending"), ("row", "ascending")]
    first = pc.select_k_unstable(table, shown, sort_keys=order)
    return tuple(table["row"].take(first).to_pylist())


def _with_reason(rows: pa.Table, reason: str | None) -> np.ndarray:
    mask = pc.is_null(rows["reason"]) if reason is None else pc.equal(rows["reason"], reason)
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy())
