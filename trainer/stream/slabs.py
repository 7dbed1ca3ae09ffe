"""Memory of batches, filled again once nobody holds it: memory that is new costs as much to touch
as a fifth of the decoding."""

import weakref

import numpy as np

from trainer.stream.augment import Pixels


class Slabs:
    """Arrays of one shape. An array counts as held while it, or a tensor over it, lives."""

    def __init__(self, shape: tuple[int, ...], kept: int) -> None:
        self.shape, self.kept = shape, kept
        self._free: list[Pixels] = []

    def take(self) -> Pixels:
        """An array whose values are arbitrary."""
        memory = self._free.pop() if self._free else np.empty(self.shape, np.uint8)
        held = memory[:]
        weakref.finalize(held, self._give_back, memory).atexit = False
        return held

    def _give_back(self, memory: Pixels) -> None:
        if len(self._free) < self.kept:
            self._free.append(memory)
