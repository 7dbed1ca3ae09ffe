"""Captions of equal text are one caption."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def numbered(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """For each text, the number of the first row that has it: equal numbers are equal texts."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(text, row) for row, text in enumerate(texts)], np.int64)
