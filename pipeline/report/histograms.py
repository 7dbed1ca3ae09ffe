"""How the pool is spread over each score and figure that a rule looks at, and where it was cut."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes

from pipeline.decide.verdict import Reason
from pipeline.report.charts import DROPPED, INK, KEPT, OTHER

BINS = 60

TAIL = 0.001
"""Share of the rows at either end that may be drawn in the outermost bars, whatever their value."""

BY_A_FIGURE: list[str | None] = [Reason.LOW_SCORE, Reason.OUT_OF_RANGE, Reason.UNSAFE]
"""Reasons whose detail begins with the column that they looked at."""

AFTER_THE_CUTS: list[str | None] = [
    None,
    Reason.EXACT_DUPLICATE,
    Reason.NEAR_DUPLICATE,
    Reason.SEMANTIC_DUPLICATE,
    Reason.OVER_QUOTA,
]
"""Verdicts of rows that passed every cut: kept ones, and those that only later rules dropped."""

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Histogram:
    """All finite values of a ledger column, by what became of the image."""

    column: str
    edges: Values
    kept: npt.NDArray[np.int64]
    fell: npt.NDArray[np.int64]
    """Dropped for this figure."""
    other: npt.NDArray[np.int64]
    """Dropped for another."""
    cuts: tuple[float, ...]
    """Lowest value that a top-fraction cut let through, one for each generation, ascending."""
    limits: tuple[float, ...]
    """Bounds that the config states."""
    tails: bool
    """Whether the outermost bars hold values from beyond them."""

    @property
    def rows(self) -> int:
        """How many images have the figure."""
        return int(sum(part.sum() for part in (self.kept, self.fell, self.other)))


def columns(decide: Mapping[str, Any], families: Mapping[str, str]) -> set[str]:
    """Columns that are drawn: those that a rule looks at, and every model's score."""
    scores = {"clip_score"} | set(families)
    return scores | set(_cut_columns(decide)) | set(_limits(decide))


def histograms(rows: pa.Table, decide: Mapping[str, Any]) -> list[Histogram]:
    """One histogram for each drawn column with any value, those that were cut by first.

    `rows` as in Curation. `decide` is that section of the snapshot's config.
    """
    wanted = dict.fromkeys([*_cut_columns(decide), *sorted(_limits(decide))])
    wanted |= dict.fromkeys(rows.column_names[rows.column_names.index("by") + 1 :])
    numeric = [name for name in wanted if name in rows.column_names and _is_number(rows, name)]
    drawn = (_histogram(rows, name, decide) for name in numeric)
    return [found for found in drawn if found]


def _cut_columns(decide: Mapping[str, Any]) -> list[str]:
    return [cut["score"] for cut in decide.get("cuts") or ()]


def _limits(decide: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """Column → the bounds that ranges and safety state for it."""
    found: dict[str, tuple[float, ...]] = {}
    for column, limits in ((decide.get("rules") or {}).get("ranges") or {}).items():
        found[column] = tuple(limits[end] for end in ("min", "max") if limits[end] is not None)
    for column, limit in ((decide.get("safety") or {}).get("max") or {}).items():
        found[column] = (*found.get(column, ()), limit)
    return found


def _is_number(rows: pa.Table, name: str) -> bool:
    kind = rows.schema.field(name).type
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _histogram(rows: pa.Table, column: str, decide: Mapping[str, Any]) -> Histogram | None:
    value = rows[column].to_numpy().astype(np.float64)
    finite = np.isfinite(value)
    if not finite.any():
        return None
    limits, kept = _limits(decide).get(column, ()), rows["keep"].to_numpy()
    fell = _is(rows, "by", [column]) & _is(rows, "reason", BY_A_FIGURE)
    cuts = _cuts(rows, value, finite & _passed(rows, column, decide), column)
    whole = pa.types.is_integer(rows.schema.field(column).type)
    edges = _edges(value[finite], (*cuts, *limits), whole)
    inside = np.clip(value, edges[0], edges[-1])

    def count(mask: Mask) -> npt.NDArray[np.int64]:
        return np.histogram(inside[finite & mask], edges)[0]

    parts = count(kept), count(fell), count(~kept & ~fell)
    tails = bool((inside != value)[finite].any())
    return Histogram(column, edges, *parts, cuts, limits, tails)


def _is(rows: pa.Table, name: str, values: Sequence[str | None]) -> Mask:
    mask: Mask = pc.is_in(rows[name], pa.array(values, pa.string())).to_numpy()
    return mask


def _passed(rows: pa.Table, column: str, decide: Mapping[str, Any]) -> Mask:
    """Rows that are known to have passed the cut by this column.

    Those that an earlier rule dropped say nothing: they may lie on either side.
    """
    cuts = _cut_columns(decide)
    later = cuts[cuts.index(column) + 1 :] if column in cuts else []
    low = _is(rows, "reason", [Reason.LOW_SCORE])
    return _is(rows, "reason", AFTER_THE_CUTS) | (low & _is(rows, "by", later))


def _cuts(rows: pa.Table, value: Values, passed: Mask, column: str) -> tuple[float, ...]:
    """The lowest value that passed, in each generation where one did not.

    A plan holds verdicts, not cuts: every row that fell lies at or below this figure.
    """
    generation = rows["generation"].to_numpy()
    fell = _is(rows, "by", [column]) & _is(rows, "reason", [Reason.LOW_SCORE])
    cut = [
        float(value[passed & (generation == index)].min())
        for index in np.unique(generation[fell])
        if (passed & (generation == index)).any()
    ]
    return tuple(sorted(set(cut)))


def _edges(value: Values, lines: tuple[float, ...], whole: bool) -> Values:
    """Borders of about BINS equal bins, from the lowest thousandth to the highest and every line.

    One border is the first line, so that no bin straddles it; whole numbers are in the middle of
    theirs.
    """
    ends = np.quantile(value, [TAIL, 1 - TAIL], method="nearest")
    low, high = float(min(*ends, *lines)), float(max(*ends, *lines))
    width = (high - low) / BINS or 1.0
    origin = lines[0] if lines else low
    if whole:
        width, origin = float(np.ceil(width)), low - 0.5
    first, last = np.floor((low - origin) / width), np.floor((high - origin) / width) + 1
    return origin + width * np.arange(first, last + 1)


def draw(axes: Axes, found: Histogram) -> None:
    """The histogram as stacked bars, each cut and limit as a line."""
    bottom = np.zeros_like(found.kept)
    layers = [
        ("kept", found.kept, KEPT),
        ("dropped for this", found.fell, DROPPED),
        ("dropped for something else", found.other, OTHER),
    ]
    widths = np.diff(found.edges) * 0.9
    for label, counts, colour in layers:
        text = f"{label} ({counts.sum():,})"
        axes.bar(found.edges[:-1], counts, widths, bottom, align="edge", color=colour, label=text)
        bottom = bottom + counts
    for word, lines in (("cut at", found.cuts), ("limit", found.limits)):
        for at in lines:
            axes.axvline(at, color=INK, linewidth=1.2)
            where = axes.get_xaxis_transform()  # data across, share of the axes' height up
            axes.annotate(f"{word} {at:.4g}", (at, 1), (6, -2), where, "offset points", va="top")
    axes.set_xlabel(found.column)
    axes.set_ylabel("images")
    axes.margins(y=0.12)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.3)
