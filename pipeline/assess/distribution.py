"""How scores are spread: a few figures, and counts on one grid for all filters and sources."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EDGES: npt.NDArray[np.float64] = np.arange(-50, 51) / 50
"""Borders of the bins: -1 to 1 by 0.02, the range of a cosine."""

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


@dataclass(frozen=True)
class Distribution:
    """What is known of an array of scores. All figures are NaN if none is finite."""

    count: int
    """Finite scores."""
    missing: int
    """Rows without one."""
    mean: float
    sd: float
    """Standard deviation of the rows themselves (divided by their count)."""
    percentiles: dict[int, float]
    """PERCENTILES → score."""
    histogram: npt.NDArray[np.int64]
    """(100,): scores between EDGES; those outside count in the outermost bins."""


def distribution(scores: npt.NDArray[np.floating]) -> Distribution:
    """Describes scores (n,); NaN or infinite is missing."""
    finite = scores[np.isfinite(scores)].astype(np.float64)
    missing = len(scores) - len(finite)
    inside = np.clip(finite, EDGES[0], EDGES[-1])
    histogram = np.histogram(inside, EDGES)[0].astype(np.int64)
    if not len(finite):
        nothing = dict.fromkeys(PERCENTILES, np.nan)
        return Distribution(0, missing, np.nan, np.nan, nothing, histogram)
    values = np.percentile(finite, PERCENTILES).tolist()
    percentiles = dict(zip(PERCENTILES, values, strict=True))
    mean, sd = float(finite.mean()), float(finite.std())
    return Distribution(len(finite), missing, mean, sd, percentiles, histogram)
