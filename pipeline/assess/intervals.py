"""How far a figure could be off: 95% intervals by the bootstrap, from weights instead of copies."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.assess import keyed

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Weights (B, N) of N units in B resamples → the figure in each: (B,), NaN where there is none."""

ROUNDS = 1000
TAILS = (0.025, 0.975)
AT_ONCE = 1 << 21
"""Weights that are held at once: 16 MB."""


class Interval(NamedTuple):
    """A figure and its 95% interval; all NaN if the figure cannot be told."""

    value: float
    low: float
    high: float


def bootstrap(statistic: Statistic, n: int, seed: int, rounds: int = ROUNDS) -> Interval:
    """The statistic of all n units (weight 1 each), and the middle 95% of it over resamples.

    A resample is n units drawn with replacement: how often each was drawn is its weight. Draws
    depend on `seed`, `n` and `rounds` alone. A resample whose figure is NaN is left out.
    A percentile interval has no width if all units are alike (recall 1 of 20 queries), so
    it says little about very few units. Raises ValueError unless n and rounds are at least 1.
    """
    if n < 1 or rounds < 1:
        raise ValueError(f"a bootstrap of {n} units in {rounds} rounds")
    source = keyed.words("bootstrap", seed)
    at_once = max(1, AT_ONCE // n)
    counts = (min(at_once, rounds - start) for start in range(0, rounds, at_once))
    drawn = np.concatenate([statistic(_weights(source, count, n)) for count in counts])
    value = float(statistic(np.ones((1, n)))[0])
    told = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not len(told):
        return Interval(np.nan, np.nan, np.nan)
    low, high = np.quantile(told, TAILS).tolist()
    return Interval(value, low, high)


def _weights(source: np.random.Philox, rounds: int, n: int) -> Floats:
    """How often each of n units is drawn in n draws: (rounds, n)."""
    drawn = keyed.below(source.random_raw((rounds, n)), n)
    drawn += n * np.arange(rounds)[:, None]
    return np.bincount(drawn.ravel(), minlength=rounds * n).reshape(rounds, n).astype(np.float64)
