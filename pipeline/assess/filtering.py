"""What is left of known noise when a score's top fraction is kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.assess.intervals import ROUNDS, Floats, Interval, bootstrap
from pipeline.assess.noise import CLEAN, KINDS
from pipeline.assess.top import best_first, share, threshold, top


@dataclass(frozen=True)
class Kept:
    """What the top fraction of a noisy pool holds. Shares of nothing are NaN."""

    fraction: float
    rows: int
    """Rows kept."""
    threshold: float
    """The lowest score that is kept; NaN if none is."""
    precision: Interval
    """Share of the kept rows that is clean."""
    recall: Interval
    """Share of the clean rows that is kept."""
    lift: float
    """Precision over the share of the pool that is clean; 1 is chance."""
    kept: dict[str, float]
    """Kind of noise that the pool holds → share of it that is kept."""


def precision_recall(
    scores: npt.NDArray[np.floating],
    kind: npt.NDArray[np.int8],
    fractions: Sequence[float],
    seed: int,
    rounds: int = ROUNDS,
) -> list[Kept]:
    """What each fraction keeps of rows with `scores` (n,) and `kind` (n,), as `noise` has them.

    A row whose score is not finite is dropped, as `top` says; recall still counts it. Intervals
    resample rows and cut each resample anew, as the place of the cut is a matter of chance too.
    Raises ValueError if the shapes disagree or there are no rows.
    """
    if scores.ndim != 1 or scores.shape != kind.shape or not len(scores):
        raise ValueError(f"scores {scores.shape} and kinds {kind.shape} are not of the same rows")
    return [_kept(scores, kind, fraction, seed, rounds) for fraction in fractions]


def _kept(
    scores: npt.NDArray[np.floating],
    kind: npt.NDArray[np.int8],
    fraction: float,
    seed: int,
    rounds: int,
) -> Kept:
    kept, clean, order = top(scores, fraction), kind == CLEAN, best_first(scores)

    def precision(weights: Floats) -> Floats:
        passing = _passing(weights[:, order], fraction)
        return _ratio(passing @ clean[order], passing.sum(axis=1))

    def recall(weights: Floats) -> Floats:
        return _ratio(_passing(weights[:, order], fraction) @ clean[order], weights @ clean)

    found = bootstrap(precision, len(scores), seed, rounds)
    shares = {KINDS[one]: float(kept[kind == one].mean()) for one in np.unique(kind[~clean])}
    lift = found.value / clean.mean() if clean.any() else np.nan
    recalled = bootstrap(recall, len(scores), seed, rounds)
    rows, lowest = int(kept.sum()), threshold(scores, kept)
    return Kept(fraction, rows, lowest, found, recalled, float(lift), shares)


def _passing(weights: Floats, fraction: float) -> Floats:
    """How much of each row's weight passes the cut: (B, m), rows best first.

    A weight of 3 is three rows, and the cut may fall between them.
    """
    upto = weights.cumsum(axis=1)
    passing = np.array([share(int(rows), fraction) for rows in weights.sum(axis=1)])
    return np.clip(passing[:, None] - (upto - weights), 0, weights)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
