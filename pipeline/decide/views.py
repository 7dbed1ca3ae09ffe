"""Which perceptual hashes are compared, and within how many bits.

The whole image, in any of its eight positions; and where windows are compared, too, the upper and
the lower three quarters, each as it is and mirrored. A bar of text at one edge spoils the hash of
the whole, but leaves one of the windows alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

MIN_QUALITY = 50
"""PDQ's authors advise to discard hashes of lower quality: flat images all look alike to it."""

PDQ_RADIUS = 31
"""Bits within which PDQ's authors call two of its hashes the same picture."""

WINDOW_RADIUS = 12
"""The same of a window, which shows less. It hardly matters: docs/duplicates.md."""

RECALL = {
    15: (0.852, 0.931),
    20: (0.888, 0.946),
    25: (0.914, 0.960),
    28: (0.926, 0.964),
    31: (0.933, 0.966),
    36: (0.949, 0.971),
    40: (0.956, 0.972),
}
"""Share of planted copies that is found by radius of the whole, alone and with windows within 12:
python -m tests.benchmarks.duplicates."""


@dataclass(frozen=True)
class View:
    """Some of the hashes that the ledger holds of an image. The first is of it as it is."""

    words: str
    """Where bits differ, in a verdict."""

    hashes: str
    quality: str
    """Ledger columns."""

    first: int
    last: int
    """Which of the column's hashes: [first, last)."""


WHOLE = View("", "phashes", "phash_quality", 0, 8)
UPPER = View(" in the upper three quarters", "window_phashes", "window_quality", 0, 2)
LOWER = View(" in the lower three quarters", "window_phashes", "window_quality", 2, 4)
VIEWS = (WHOLE, UPPER, LOWER)
"""The closest kind of likeness first."""

Compared = dict[View, int]
"""The views that are looked at, each with its radius."""


def compared(radius: int | None, window_radius: int | None) -> Compared:
    """What two radii of a config mean; none for the whole compares nothing."""
    if radius is None:
        return {}
    windows = {} if window_radius is None else {UPPER: window_radius, LOWER: window_radius}
    return {WHOLE: radius} | windows


def columns(views: Iterable[View]) -> set[str]:
    """Ledger columns that they are read from."""
    return {name for view in views for name in (view.hashes, view.quality)}


def good(facts: pa.Table, view: View) -> npt.NDArray[np.bool_]:
    """Which rows have a hash of the quality to be compared, (n,)."""
    found: npt.NDArray[np.bool_] = facts[view.quality].fill_null(-1).to_numpy() >= MIN_QUALITY
    return found


def hashes(packed: Sequence[bytes], view: View) -> npt.NDArray[np.uint8]:
    """A column's hashes, of which no row may be null, as (n, positions, 32)."""
    total = len(packed[0]) // 32 if packed else view.last
    every = np.frombuffer(b"".join(packed), np.uint8).reshape(-1, total, 32)
    return every[:, view.first : view.last]


def recall_of(radius: int, windows: bool = True) -> str:
    """What a radius finds of planted copies, in words, by the nearest that was measured."""
    measured = min(RECALL, key=lambda known: (abs(known - radius), known))
    return f"a radius of {measured} finds {RECALL[measured][windows]:.0%} of planted copies"


def bits_that_differ(view: View, bits: float) -> str:
    """A verdict's words."""
    return f"{bits:.0f} bits of 256 differ{view.words}"
