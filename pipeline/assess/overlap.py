"""How much of what one filter keeps does another keep?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.assess.correlation import spearman
from pipeline.assess.top import Mask, top


@dataclass(frozen=True)
class Overlap:
    """The top fractions of two scores of the same rows. Shares of nothing are NaN."""

    fraction: float
    a: int
    """Rows that a keeps."""
    b: int
    both: int
    either: int
    jaccard: float
    """Both over either."""
    shared: float
    """Share of a's kept rows that b keeps too."""
    chance: float
    """What `shared` would be if b's scores had nothing to do with a's: b's share of all rows."""
    spearman: float
    """Rank correlation of all rows that both scored: the same for every fraction."""


def overlap(
    scores_a: npt.NDArray[np.floating],
    scores_b: npt.NDArray[np.floating],
    fractions: Sequence[float],
) -> list[Overlap]:
    """Compares two filters' scores (n,) of the same rows at each fraction.

    A row without a finite score is dropped by that filter, as `top` says.
    Raises ValueError if the shapes disagree or no rows are given.
    """
    if scores_a.ndim != 1 or scores_a.shape != scores_b.shape or not len(scores_a):
        raise ValueError(f"scores {scores_a.shape} and {scores_b.shape} are not of the same rows")
    correlation = spearman(scores_a, scores_b)
    return [
        _overlap(top(scores_a, fraction), top(scores_b, fraction), fraction, correlation)
        for fraction in fractions
    ]


def _overlap(a: Mask, b: Mask, fraction: float, correlation: float) -> Overlap:
    kept_a, kept_b, both, either = (int(kept.sum()) for kept in (a, b, a & b, a | b))
    return Overlap(
        fraction=fraction,
        a=kept_a,
        b=kept_b,
        both=both,
        either=either,
        jaccard=both / either if either else np.nan,
        shared=both / kept_a if kept_a else np.nan,
        chance=kept_b / len(b),
        spearman=correlation,
    )
