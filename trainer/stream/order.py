"""The endless order of one source: which sample a lane's m-th is (DESIGN "Stream", steps 1 to 3).

    number     i = m·L + l                      of the source's endless sequence
    epoch      e, r = divmod(i, N)              epochs do not overlap
    wave       L blocks of b samples, read side by side, one open block a lane
    block      a keyed permutation of the blocks, new each epoch
    pieces     the last wave, of what makes no full blocks; they lie among the blocks, so that the
               end of an epoch draws from as many places as the rest of it
    sample     a keyed permutation inside the block, and a rotation of the epoch's block borders

Every function is pure and works on arrays of lanes and numbers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.stream.keyed import base_key, below, mix, permute

Array = npt.NDArray[np.int64]
MAX_BLOCK = 256

ORDER = 2
"""Raised whenever the same (sources, seed, step) comes to mean another sample: a run goes on under
the arithmetic that it began with, or not at all."""


class Places(NamedTuple):
    """Where samples lie; int64 arrays of one length."""

    epoch: Array
    sample: Array
    """Number of the sample in the source, in shard order."""
    block_start: Array
    """First sample of the block to read it in."""
    block_length: Array
    """Samples in that block, which may run over the end of the source to its beginning."""
    left: Array
    """Samples of that block which the lane draws after this one."""


def default_block(samples: int, lanes: int) -> int:
    """256 to stream from a store, less for a source too small for 16 waves."""
    return min(MAX_BLOCK, max(1, samples // (16 * lanes)))


@dataclass(frozen=True)
class SourceOrder:
    """The order of one source. Its name, not its place in the mixture, keys its randomness."""

    name: str
    samples: int
    lanes: int
    block: int
    seed: int

    def places(self, lane: Array, number: Array) -> Places:
        """The places of each lane's `number`-th sample (from 0) of this source."""
        epoch, rank = np.divmod(number * self.lanes + lane, self.samples)
        begin, length, block, depth = self._in_epoch(epoch, rank)
        rotation = below(mix(self._key("rotation"), epoch), self.samples)
        inside = permute(depth, length, mix(self._key("inside"), epoch, block))
        start = (begin + rotation) % self.samples
        sample = (start + inside) % self.samples
        return Places(epoch, sample, start, length, length - depth - 1)

    def _in_epoch(self, epoch: Array, rank: Array) -> tuple[Array, Array, Array, Array]:
        """Begin, length and number of the block, and the depth in it, before the rotation."""
        waves = self.samples // (self.lanes * self.block)
        full = waves * self.lanes * self.block
        wave, q = np.divmod(rank, self.lanes * self.block)
        depth, column = np.divmod(q, self.lanes)
        blocks = max(1, waves * self.lanes)
        # Ranks of the last wave have no full block; they are given any, and replaced below.
        at = np.minimum(wave * self.lanes + column, blocks - 1)
        block = permute(at, blocks, mix(self._key("blocks"), epoch))
        last = rank >= full
        piece, rest = divmod(self.samples - full, self.lanes)
        depth_last, column_last = np.divmod(rank - full, self.lanes)
        # After every `waves` blocks lies one piece: what lies before this block or piece?
        blocks_before = np.where(last, (column_last + 1) * waves, block)
        pieces_before = np.where(last, column_last, block // max(1, waves))
        begin = blocks_before * self.block + pieces_before * piece
        return (
            begin + np.minimum(pieces_before, rest),
            np.where(last, piece + (column_last < rest), self.block),
            np.where(last, waves * self.lanes + column_last, block),
            np.where(last, depth_last, depth),
        )

    def _key(self, purpose: str) -> int:
        return base_key(self.seed, purpose, self.name)
