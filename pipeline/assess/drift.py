"""Is what is new like what is there? Figures of both, and the bands that they are held against.

Figures are counts: those of parts are added, so nothing needs the pool in one process.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline import plan
from pipeline.assess import binned
from pipeline.assess.binned import Counts
from pipeline.decide.verdict import Reason
from pipeline.settings import Settings

RATES: Mapping[str, Collection[str]] = {
    "keep_rate": ("kept",),
    "duplicate_rate": (
        Reason.EXACT_DUPLICATE,
        Reason.NEAR_DUPLICATE,
        Reason.SEMANTIC_DUPLICATE,
    ),
    "error_rate": (Reason.UNREADABLE,),
}
"""Rate → the verdicts that it counts."""

LEAVING = "leaving"
"""The share of the parent's kept images that a list, a rule or a replaced source takes away."""

SIZES = ("shorter_side", "image_bytes")
"""Distributions of every pool, pixels and bytes; those of scores go by their columns' names."""


class GatesConfig(Settings):
    """How far new images may lie from the parent's before a refresh stops; null: any distance.

    A rate's distance is the difference, so 0.1 is ten points of a hundred. A distribution's is
    Kolmogorov and Smirnov's: the largest difference of two shares of images up to some value. A
    shift by half a standard deviation is 0.2 (normal: 2Φ(1/4) - 1), and 0.25 as a population
    stability index (its square), from where credit scoring calls a change significant (Siddiqi,
    Credit Risk Scorecards, 2006, "scorecard stability").
    """

    keep_rate: float | None = Field(default=0.1, gt=0, le=1)
    """Kept of all images. With a cut to 0.15, most of this is the cut's: scores tell more."""

    duplicate_rate: float | None = Field(default=0.1, gt=0, le=1)
    """Exact, near and semantic duplicates of all images."""

    error_rate: float | None = Field(default=0.05, gt=0, le=1)
    """Unreadable ones of all images."""

    leaving: float | None = Field(default=0.05, gt=0, le=1)
    """Of the parent's kept images, those that are kept no more: by lists, rules, other sources."""

    scores: float | None = Field(default=0.2, gt=0, le=1)
    """Of each score that a cut names. An image without one counts as below all others."""

    shorter_side: float | None = Field(default=0.2, gt=0, le=1)
    """Of the shorter side in pixels."""

    image_bytes: float | None = Field(default=0.2, gt=0, le=1)
    """Of the size of the file."""

    from_images: int = Field(default=1000, ge=1)
    """With fewer images on either side nothing is gated, for it might be chance. Of pairs of
    samples of one pool (tests/pipeline/assess/test_drift.py) none in 2,000 was out at 1,000
    images, 3 in 1,000 at 500, and 3 in 4 at 50; images of one site are more alike than those."""


@dataclass(frozen=True)
class Figures:
    """What is counted of some rows of a pool."""

    verdicts: Counter[str]
    """Rows by reason, kept ones as `kept`."""
    spreads: dict[str, Counts]
    """SIZES and score columns → binned values; a score that was not measured is not there."""

    @property
    def rows(self) -> int:
        """How many images."""
        return self.verdicts.total()

    def rate(self, verdicts: Collection[str]) -> float:
        """Share of the rows with one of these verdicts; NaN of no rows."""
        return sum(self.verdicts[one] for one in verdicts) / self.rows if self.rows else np.nan

    def __add__(self, other: "Figures") -> "Figures":
        """The figures of both rows together."""
        names = dict.fromkeys([*self.spreads, *other.spreads])
        none = Counts()
        spreads = {n: self.spreads.get(n, none) + other.spreads.get(n, none) for n in names}
        return Figures(self.verdicts + other.verdicts, spreads)


NOTHING = Figures(Counter(), {})
"""Of no rows."""


@dataclass(frozen=True)
class Finding:
    """One figure of the parent and of what is new."""

    name: str
    """Of RATES, of SIZES, LEAVING, or a score's column."""
    before: float
    """The rate, or the median of a distribution; NaN where there is none."""
    after: float
    distance: float
    """From 0 to 1; NaN if one side has nothing to compare."""
    allowed: float | None
    """None if the figure is not gated."""
    why: str = ""
    """Why it is not gated, or could not be."""

    @property
    def out(self) -> bool:
        """Whether the distance is larger than allowed."""
        return self.allowed is not None and self.distance > self.allowed


def columns(scores: Collection[str]) -> set[str]:
    """Ledger columns that figures are made of; `scores` are the columns that cuts name."""
    return {"width", "height", "nbytes", *scores}


def figures(rows: pa.Table, scores: Collection[str]) -> Figures:
    """Counts rows with the plan's `reason` and the ledger's `columns`.

    A score that the rows lack is left out. Rows of a source that was replaced count nowhere: no
    such file is in the pool any more.
    """
    there = pc.fill_null(pc.not_equal(rows["reason"], Reason.SOURCE_REPLACED), True)
    rows = rows.filter(there)
    width, height = _numbers(rows, "width"), _numbers(rows, "height")
    values = {"shorter_side": np.minimum(width, height), "image_bytes": _numbers(rows, "nbytes")}
    values |= {name: _numbers(rows, name) for name in scores if name in rows.column_names}
    spreads = {name: binned.count(found) for name, found in values.items()}
    return Figures(Counter(plan.counts(rows)), spreads)


def _numbers(rows: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """A column of numbers; null is NaN."""
    return rows[name].to_numpy().astype(np.float64)


def compare(before: Figures, after: Figures, gates: GatesConfig) -> list[Finding]:
    """Rates, then distributions, of the parent and of what is new, against their bands."""
    few = min(before.rows, after.rows) < gates.from_images
    found = []
    for name, verdicts in RATES.items():
        rates = before.rate(verdicts), after.rate(verdicts)
        found.append(_finding(name, rates, abs(rates[0] - rates[1]), getattr(gates, name), few))
    for name in dict.fromkeys([*SIZES, *before.spreads, *after.spreads]):
        one, other = (side.spreads.get(name, Counts()) for side in (before, after))
        medians = binned.quantile(one, 0.5), binned.quantile(other, 0.5)
        band = getattr(gates, name) if name in SIZES else gates.scores
        found.append(_finding(name, medians, binned.distance(one, other), band, few))
    return found


def leaving(kept: int, gone: int, gates: GatesConfig) -> Finding:
    """Of the images that the parent keeps, those that leave."""
    share = gone / kept if kept else np.nan
    return _finding(LEAVING, (0.0, share), share, gates.leaving, kept < gates.from_images)


def _finding(
    name: str, sides: tuple[float, float], distance: float, band: float | None, few: bool
) -> Finding:
    why = ""
    if band is None:
        why = "not gated"
    elif few:
        why = "too few images"
    elif np.isnan(distance):
        why = "nothing to compare"
    return Finding(name, *sides, distance, None if why else band, why)
