"""The mixing word: which source each slot of a lane draws from (DESIGN "Stream", step 4).

Integer weights with sum D give one word of length D in which each source stands as evenly as it
can. Lanes start at different places of it, so every batch holds the ratio almost exactly. A
per-sample draw (AIM.md 1.8) has the same mean; this has no variance.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.int64]


def smooth_word(weights: Sequence[int]) -> Array:
    """Smooth weighted round-robin: source numbers, each `weights[s]` times, evenly spread."""
    total = sum(weights)
    credit = [0] * len(weights)
    word = []
    for _ in range(total):
        credit = [c + w for c, w in zip(credit, weights, strict=True)]
        chosen = max(range(len(weights)), key=lambda s: (credit[s], -s))
        credit[chosen] -= total
        word.append(chosen)
    return np.array(word, np.int64)


class Mixing:
    """Which source, and how many of it came before, for any slot of any lane."""

    def __init__(self, weights: Sequence[int], lanes: int) -> None:
        self.weights = np.array(weights, np.int64)
        self.word = smooth_word(weights)
        self.lanes = lanes
        chosen = self.word[None, :] == np.arange(len(weights))[:, None]
        self.counts = np.pad(np.cumsum(chosen, axis=1), ((0, 0), (1, 0)))  # (S, D + 1)

    def source(self, lane: Array, slot: Array) -> Array:
        """The source that a lane's slot (counted from the run's start) draws from."""
        return self.word[(slot + self._start(lane)) % len(self.word)]

    def taken(self, source: Array, lane: Array, slot: Array) -> Array:
        """How many samples of a source the lane took in the slots before this one."""
        start = self._start(lane)
        rounds, place = np.divmod(slot + start, len(self.word))
        return (
            rounds * self.weights[source] + self.counts[source, place] - self.counts[source, start]
        )

    def worst_error(self) -> float:
        """How many samples a source is ahead of its share, or behind it, at worst, over all lanes.

        Exact: after every lane has read the whole word, the shares are those of the weights again.
        """
        starts = self._start(np.arange(self.lanes))
        _, lane, alike = np.unique(starts, return_index=True, return_counts=True)
        slot, sources = np.arange(len(self.word)), np.arange(len(self.weights))[:, None]
        taken_by_each = (self.taken(source, lane[:, None], slot) for source in sources)
        taken = np.stack([(alike[:, None] * each).sum(axis=0) for each in taken_by_each])
        fair = np.outer(self.weights, slot) * self.lanes / len(self.word)
        return float(np.abs(taken - fair).max())

    def _start(self, lane: Array) -> Array:
        return lane * len(self.word) // self.lanes
