"""The score cut: keep the top fraction of the pool, exact to the row."""

import math
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.decide.verdict import Mask, Reason, Verdicts
from pipeline.settings import Settings


class CutConfig(Settings):
    """Which share of the pool passes by its image-text score."""

    top_fraction: float = Field(gt=0, le=1)
    """Share of rows to keep. DFN-2B is 0.15 of CommonPool (DFN paper, section 4)."""

    of: Literal["scored", "survivors"] = "scored"
    """Share of what: all rows with a finite score, or those that earlier rules left."""


def drop_below_cut(
    verdicts: Verdicts,
    score: npt.NDArray[np.float64],
    order: npt.NDArray[np.int64],
    generation: npt.NDArray[np.int64],
    config: CutConfig,
) -> dict[int, float]:
    """Drops rows outside the top fraction of their generation, and rows without a score.

    `order` has the best score first and ties in their final order. Returns each generation's
    cut: the lowest score that passes, where any does.
    """
    scored = np.isfinite(score)
    verdicts.drop(~scored, Reason.NO_SCORE, lambda row: "the image-text model gave no score")
    base = scored & verdicts.kept if config.of == "survivors" else scored
    cuts = {}
    for index in np.unique(generation).tolist():
        below: Mask = base & (generation == index)
        passing = _top(order, below, config.top_fraction)
        below[passing] = False
        if len(passing):
            cuts[index] = float(score[passing].min())
        _drop_low(verdicts, below, score, cuts.get(index), config)
    return cuts


def _drop_low(
    verdicts: Verdicts,
    below: Mask,
    score: npt.NDArray[np.float64],
    cut: float | None,
    config: CutConfig,
) -> None:
    end = "holds no row" if cut is None else f"ends at {cut:.4f}"
    share = f"the top {config.top_fraction:.4g}, which {end}"
    verdicts.drop(below, Reason.LOW_SCORE, lambda row: f"score {score[row]:.4f} is outside {share}")


def _top(order: npt.NDArray[np.int64], base: Mask, fraction: float) -> npt.NDArray[np.int64]:
    """The first ⌊fraction · n⌋ rows of the base in this order (exact: 0.15 · 20 is 3)."""
    ranked = order[base[order]]
    return ranked[: math.floor(Fraction(str(fraction)) * len(ranked))]
