"""Tables as the page shows them: cells of any kind become text.

A cell is text, a number, a bool, null (missing), a list, or {"value", "low", "high"}, a figure and
its interval.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.tiles import visible

ROWS, COLUMNS, NOTES = 500, 40, 40
"""Most that are shown of a table."""

MISSING = "-"

FIGURE = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?%?( [(\[].*[)\]])?")
"""A number, in percent or not, and perhaps its interval."""


@dataclass(frozen=True)
class Table:
    """A table as the page shows it: every cell is text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: tuple[bool, ...]
    """Whether a column holds figures, which stand on the right."""
    notes: tuple[str, ...] = ()
    left_out: int = 0
    """Rows that are not shown."""


def made(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    notes: Iterable[str] = (),
    right: Sequence[bool] | None = None,
) -> Table:
    """A table of cells of any kind, each row as long as `columns`.

    `right` says which columns hold figures; without it, those in which every cell is one.
    """
    kept = [[text(cell) for cell in row[:COLUMNS]] for row in rows[:ROWS]]
    width = range(min(len(columns), COLUMNS))
    figures = right or [_is_of_figures([row[n] for row in kept]) for n in width]
    return Table(
        title=visible(title),
        columns=tuple(visible(name) for name in columns[:COLUMNS]),
        rows=tuple(map(tuple, kept)),
        figures=tuple(figures[:COLUMNS]),
        notes=tuple(map(visible, list(notes)[:NOTES])),
        left_out=len(rows) - len(kept),
    )


def _is_of_figures(cells: list[str]) -> bool:
    told = [cell for cell in cells if cell not in (MISSING, "\u2013", "")]
    return bool(told) and all(map(FIGURE.fullmatch, told))


def text(cell: Any) -> str:
    """One cell as a person reads it."""
    if cell is None:
        return MISSING
    if isinstance(cell, Mapping) and {"value", "low", "high"} <= cell.keys():
        low, high = text(cell["low"]), text(cell["high"])
        return f"{text(cell['value'])} ({low} to {high})"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:.4g}" if math.isfinite(cell) else MISSING
    if isinstance(cell, list):
        return visible(", ".join(map(text, cell)))
    return visible(str(cell))


def percent(share: Any) -> Any:
    """A share, or one with its interval, in percent; a cell that is neither stays as it is."""
    if isinstance(share, Mapping) and {"value", "low", "high"} <= share.keys():
        value, low, high = (percent(share[name]) for name in ("value", "low", "high"))
        return f"{text(value)} ({text(low)} to {text(high)})"
    if isinstance(share, float | int) and not isinstance(share, bool) and math.isfinite(share):
        return f"{share:.1%}"
    return None if isinstance(share, float) else share
