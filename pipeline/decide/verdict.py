"""Verdicts in the making: which rows still stand, and why the others fell."""

from collections.abc import Callable, Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


class Reason(StrEnum):
    """Why a pool image was dropped: the closed list, in the order in which rules are tried."""

    UNREADABLE = "unreadable"
    CONTAMINATED = "contaminated"
    TOO_SMALL = "too_small"
    EXTREME_ASPECT = "extreme_aspect"
    CAPTION_TOO_SHORT = "caption_too_short"
    NO_SCORE = "no_score"
    LOW_SCORE = "low_score"
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"


class Verdicts:
    """One verdict per row: the first rule that drops a row gives its reason, for good."""

    def __init__(self, rows: int) -> None:
        self.reason: list[str | None] = [None] * rows
        self.detail: list[str | None] = [None] * rows
        self.kept: Mask = np.ones(rows, bool)

    def drop(self, mask: Mask, reason: Reason, detail: Callable[[int], str]) -> None:
        """Drops the rows of the mask that still stand; `detail` is asked for each of them."""
        for row in np.flatnonzero(mask & self.kept).tolist():
            self.drop_row(row, reason, detail(row))

    def drop_row(self, row: int, reason: Reason, detail: str) -> None:
        """Drops one row that still stands."""
        self.reason[row], self.detail[row], self.kept[row] = reason.value, detail, False


def keeper_order(
    generation: npt.NDArray[np.int64],
    score: npt.NDArray[np.float64],
    nbytes: npt.NDArray[np.int64],
    names: Sequence[tuple[str, str, str, int]],
) -> npt.NDArray[np.int64]:
    """Row numbers, best keeper first: generation, then score, size, and (uid, source, key, offset).

    A missing score (NaN) comes after every score. Ties end at the row's own identity, so the
    order does not depend on that of the input.
    """
    by_name = np.empty(len(names), np.int64)
    by_name[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    descending = np.where(np.isnan(score), np.inf, -score)
    return np.lexsort((by_name, -nbytes, descending, generation))
