"""Any figure, counted in bins that are the same everywhere, so that the counts of parts add up.

A bin holds the float32 values that agree in their upper 16 bits: sign, exponent and seven digits
after the first. It is at most 1/128 as wide as its values are large, whether these are cosines or
bytes, and bins are numbered in the order of their values. So a distance between two sets of counts
is that of the values themselves, but for what lies inside of one bin.
"""

from collections import Counter

import numpy as np
import numpy.typing as npt

Counts = Counter[int]
"""Bin → how many values it holds; empty bins are left out."""

Values = npt.NDArray[np.float64]

MISSING = -1
"""The bin of rows without a finite value: below all others."""


def count(values: npt.NDArray[np.number]) -> Counts:
    """The bins of values (n,); NaN, infinite and beyond float32 is missing."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32) + np.float32(0)  # -0.0 is 0.0
    bits = rounded.view(np.uint32)
    ascending = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)) >> 16
    bins = np.where(np.isfinite(rounded), ascending.astype(np.int64), MISSING)
    found, counts = np.unique(bins, return_counts=True)
    return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))


def lowest(bins: npt.NDArray[np.int64]) -> Values:
    """The lowest value that falls into each of these bins; MISSING has none."""
    ascending = bins.astype(np.uint32) << np.uint32(16)
    bits = np.where(ascending >> 31, ascending & np.uint32(0x7FFFFFFF), ~ascending)
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def distance(one: Counts, other: Counts) -> float:
    """Kolmogorov and Smirnov's: the largest difference of two shares of values up to a bound.

    0 for equal distributions, 1 where all of one lies below all of the other. Missing values lie
    below all others, so that a model which falls silent is seen. NaN if either counts no row.
    """
    if not (one.total() and other.total()):
        return float("nan")
    bins = sorted(one.keys() | other.keys())
    shares = [np.cumsum([c[number] for number in bins]) / c.total() for c in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def quantile(counts: Counts, share: float) -> float:
    """The lowest value of the bin where so large a share of the finite values is reached.

    NaN if there is none.
    """
    bins, held = _finite(counts)
    if not len(bins):
        return float("nan")
    at = int(np.searchsorted(np.cumsum(held), share * held.sum()))
    return float(lowest(bins[min(at, len(bins) - 1)]))


def bars(counts: Counts, edges: Values) -> Values:
    """Share of all rows between edges that ascend, values beyond them in the outermost bars.

    A bin on an edge is split as if its values were spread evenly.
    """
    bins, held = _finite(counts)
    if not len(bins):
        return np.zeros(len(edges) - 1)
    ends = np.stack([lowest(bins), np.minimum(lowest(bins + 1), np.finfo(np.float32).max)], 1)
    upto = np.cumsum(held)
    below = np.interp(edges, ends.ravel(), np.stack([upto - held, upto], 1).ravel())
    below[0], below[-1] = 0, upto[-1]
    shares: Values = np.diff(below) / counts.total()
    return shares


def _finite(counts: Counts) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The bins with a value, ascending, and how many each holds."""
    bins = np.array(sorted(counts.keys() - {MISSING}), np.int64)
    return bins, np.array([counts[number] for number in bins.tolist()], np.int64)
