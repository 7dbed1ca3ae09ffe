"""Do two lists of numbers order the same things alike? Ranks only; no scale matters."""

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]


def average_ranks(values: Values) -> Floats:
    """Places from 1 of finite values (n,), ascending; equal ones share the mean of theirs."""
    _, step, count = np.unique(values, return_inverse=True, return_counts=True)
    last = count.cumsum()
    ranks: Floats = (last - (count - 1) / 2)[step]
    return ranks


def spearman(a: Values, b: Values) -> float:
    """Spearman's correlation of a and b (n,), over places where both are finite.

    NaN if fewer than 2 such places, or if either is the same in all. Raises ValueError if the
    shapes disagree.
    """
    a, b = _finite(a, b)
    one, other = (average_ranks(values) - (len(values) + 1) / 2 for values in (a, b))
    return _cosine(float(one @ other), float(one @ one), float(other @ other))


def kendall(a: Values, b: Values) -> float:
    """Kendall's tau-b of a and b (n,), over places where both are finite; NaN as `spearman`.

    Compares all pairs: for some thousand values at most.
    """
    a, b = _finite(a, b)
    one, other = (np.sign(values[:, None] - values[None]) for values in (a, b))
    return _cosine(float((one * other).sum()), float((one**2).sum()), float((other**2).sum()))


def _finite(a: Values, b: Values) -> tuple[Values, Values]:
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"values {a.shape} and {b.shape} are not of the same things")
    both = np.isfinite(a) & np.isfinite(b)
    return a[both], b[both]


def _cosine(product: float, a: float, b: float) -> float:
    return product / np.sqrt(a * b) if a * b > 0 else np.nan
