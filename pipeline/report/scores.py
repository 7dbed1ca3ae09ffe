"""The distribution of image-text scores, and where the cut fell."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib.axes import Axes

from pipeline.decide.verdict import Reason
from pipeline.report.charts import DROPPED, INK, KEPT, OTHER

BINS = 60

AFTER_THE_CUT: list[str | None] = [None, Reason.EXACT_DUPLICATE, Reason.NEAR_DUPLICATE]
"""Verdicts of rows that passed the cut: kept ones, and those that only later rules dropped."""


@dataclass(frozen=True)
class Scores:
    """A histogram of all finite scores, by what became of the image."""

    edges: npt.NDArray[np.float64]
    kept: npt.NDArray[np.int64]
    below: npt.NDArray[np.int64]
    """Dropped by the cut."""
    other: npt.NDArray[np.int64]
    """Dropped by another rule."""
    cuts: tuple[float, ...]
    """One for each generation that was cut, ascending."""

    @property
    def scored(self) -> int:
        """How many images have a score."""
        return int(sum(part.sum() for part in (self.kept, self.below, self.other)))


def scores(rows: pa.Table) -> Scores | None:
    """The scores of a plan's rows, or None if there are none."""
    if "clip_score" not in rows.column_names:
        return None
    score = rows["clip_score"].fill_null(float("nan")).to_numpy().astype(np.float64)
    finite = np.isfinite(score)
    if not finite.any():
        return None
    reason = np.array(rows["reason"].to_pylist(), object)
    cuts = _cuts(score, reason, rows["generation"].to_numpy())
    edges = _edges(score[finite], cuts)
    kept, below = rows["keep"].to_numpy(), reason == Reason.LOW_SCORE

    def count(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        return np.histogram(score[finite & mask], edges)[0]

    return Scores(edges, count(kept), count(below), count(~kept & ~below), cuts)


def _edges(score: npt.NDArray[np.float64], cuts: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Borders of about BINS equal bins, one of which is the lowest cut: no bin straddles it."""
    low, high = float(score.min()), float(score.max())
    width = (high - low) / BINS or 1.0
    origin = cuts[0] if cuts else low
    first, last = np.floor((low - origin) / width), np.floor((high - origin) / width) + 1
    return origin + width * np.arange(first, last + 1)


def _cuts(
    score: npt.NDArray[np.float64], reason: npt.NDArray[np.object_], generation: npt.NDArray
) -> tuple[float, ...]:
    """The lowest score that is known to have passed, in each generation where one did not.

    A plan holds verdicts, not cuts. Every row of LOW_SCORE lies at or below this figure and every
    row that the cut let through at or above it. Rows that an earlier rule dropped say nothing:
    they may lie on either side.
    """
    passed = np.isfinite(score) & np.isin(reason, np.array(AFTER_THE_CUT, object))
    below = reason == Reason.LOW_SCORE
    cut = [
        float(score[passed & (generation == index)].min())
        for index in np.unique(generation[below])
        if (passed & (generation == index)).any()
    ]
    return tuple(sorted(set(cut)))


def draw(axes: Axes, found: Scores) -> None:
    """The histogram as stacked bars, each cut as a line."""
    bottom = np.zeros_like(found.kept)
    layers = [
        ("kept", found.kept, KEPT),
        ("dropped by the cut", found.below, DROPPED),
        ("dropped by another rule", found.other, OTHER),
    ]
    widths = np.diff(found.edges) * 0.9
    for label, counts, colour in layers:
        text = f"{label} ({counts.sum():,})"
        axes.bar(found.edges[:-1], counts, widths, bottom, align="edge", color=colour, label=text)
        bottom = bottom + counts
    for cut in found.cuts:
        axes.axvline(cut, color=INK, linewidth=1.2)
        where = axes.get_xaxis_transform()  # data across, share of the axes' height up
        axes.annotate(f"cut at {cut:.3f}", (cut, 1), (6, -2), where, "offset points", va="top")
    axes.set_xlabel("score: how well image and caption fit each other")
    axes.set_ylabel("images")
    axes.margins(y=0.12)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.3)
