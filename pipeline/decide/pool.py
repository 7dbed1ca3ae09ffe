"""The pool as decide sees it: parts in order, and a way to read their facts."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Load = Callable[[str, Collection[str]], pa.Table]
"""Reads some ledger columns of a part, by its name: one row per pool image, in the part's order."""


@dataclass(frozen=True)
class Pool:
    """Parts of a ledger in pool order. Row numbers count through them."""

    parts: tuple[str, ...]
    generations: tuple[int, ...]
    """Of each part: index of the first snapshot of the chain that lists it."""
    rows: tuple[int, ...]
    """How many pool images each part holds."""
    load: Load
    replaced: frozenset[str] = frozenset()
    """Parts of before whose source has other bytes now: none of their rows is kept."""
    gone: frozenset[str] = frozenset()
    """Parts of before that no source holds any more: what the parent keeps of them may stay."""

    @property
    def bounds(self) -> npt.NDArray[np.int64]:
        """The number of each part's first row, and of all rows at the end."""
        return np.concatenate([[0], np.cumsum(self.rows, dtype=np.int64)]).astype(np.int64)
