"""The top fraction of scores, exact to the row, as `decide.cut` keeps it."""

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


def top(scores: npt.NDArray[np.floating], fraction: float) -> Mask:
    """Which rows of scores (n,) are kept: ⌊fraction · scored⌋ of those with a finite score.

    Equal scores are taken by row number. A row without a finite score is never kept.
    Raises ValueError for a fraction outside [0, 1].
    """
    order = best_first(scores)
    kept = np.zeros(len(scores), bool)
    kept[order[: share(len(order), fraction)]] = True
    return kept


def threshold(scores: npt.NDArray[np.floating], kept: Mask) -> float:
    """The lowest of the scores (n,) that are kept; NaN if none is.

    As a limit it keeps what `top` kept, and with it the rows of just this score that `top` left.
    """
    return float(scores[kept].min()) if kept.any() else math.nan


def best_first(scores: npt.NDArray[np.floating]) -> Numbers:
    """Rows with a finite score, the largest first, equal ones by row number."""
    scored = np.flatnonzero(np.isfinite(scores))
    return scored[np.argsort(-scores[scored], kind="stable")]


def share(rows: int, fraction: float) -> int:
    """⌊fraction · rows⌋ of the fraction as it is written: 0.29 of 100 is 29."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"a fraction of {fraction}: between 0 and 1 is meant")
    return math.floor(Fraction(str(fraction)) * rows)
