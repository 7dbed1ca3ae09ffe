"""Contact sheets: a few images of each verdict."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decide.verdict import Reason
from pipeline.report.curation import Row, as_rows
from pipeline.report.funnel import Funnel
from pipeline.report.reasons import KEPT, Words, words

KEPT_SHOWN, DROPPED_SHOWN, UNREADABLE_SHOWN = 24, 16, 8
"""Images on a sheet, eight in a row of it. Unreadable ones have a list of their own."""


@dataclass(frozen=True)
class Sheet:
    """Some of the images that met one verdict, `total` in all."""

    reason: str
    words: Words
    total: int
    rows: tuple[Row, ...]


def sheets(rows: pa.Table, counts: Funnel) -> list[Sheet]:
    """The kept sheet, then one for each reason that dropped anything, in the funnel's order."""
    found = [Sheet(KEPT, words(KEPT), counts.kept, _pick(rows, None, KEPT_SHOWN))]
    for step in counts.steps:
        shown = UNREADABLE_SHOWN if step.reason == Reason.UNREADABLE else DROPPED_SHOWN
        picked = _pick(rows, step.reason, shown)
        found.append(Sheet(step.reason, step.words, step.dropped, picked))
    return [sheet for sheet in found if sheet.rows]


def unreadable(rows: pa.Table, shown: int) -> list[Row]:
    """The first unreadable rows, in pool order."""
    mask = pc.equal(rows["reason"], Reason.UNREADABLE.value)
    return as_rows(rows.filter(mask).slice(0, shown))


def _pick(rows: pa.Table, reason: str | None, shown: int) -> tuple[Row, ...]:
    """The rows with the lowest uids: a fixed choice that has nothing to do with their content."""
    mask = pc.is_null(rows["reason"]) if reason is None else pc.equal(rows["reason"], reason)
    order = [(name, "ascending") for name in ("uid", "source", "key", "offset")]
    return tuple(as_rows(rows.filter(mask).sort_by(order).slice(0, shown)))
