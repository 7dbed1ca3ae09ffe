"""What a few seeds say: a mean with its 95% interval by Student's t, without scipy."""

import math
from collections.abc import Sequence

from pipeline.assess.intervals import Interval

LEVEL = 0.95


def t_interval(values: Sequence[float]) -> Interval:
    """Mean of n values and its two-sided 95% interval, which takes them as independent and normal.

    Of one value there is no interval: low and high are NaN. Raises ValueError for none.
    """
    n = len(values)
    if not n:
        raise ValueError("the mean of no seeds")
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, math.nan, math.nan)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = t_quantile(n - 1) * deviation / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def t_quantile(freedom: int, level: float = LEVEL) -> float:
    """The t with which |T| ≤ t has probability `level`, for whole degrees of freedom."""
    low, high = 0.0, 1.0
    while _within(high, freedom) < level:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < level else (low, middle)
    return (low + high) / 2


def _within(t: float, freedom: int) -> float:
    """P(|T| ≤ t), a finite sum (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = cosine if odd else 1.0, 0.0
    for k in range(odd + 1, freedom, 2):
        total += term
        term *= cosine**2 * k / (k + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
