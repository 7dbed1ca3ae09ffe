"""The plan: what every slot of every step holds, for any subset of the lanes.

A pure function of (mixture, seed, step). Ranks, workers and crashes do not occur in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.stream.mixing import Mixing
from trainer.stream.order import Places, SourceOrder

Array = npt.NDArray[np.int64]


class Slots(NamedTuple):
    """The planned samples of some steps; arrays of one length, by step, then lane, then slot."""

    step: Array
    lane: Array
    slot: Array
    """Place in the lane at this step, from 0."""
    source: Array
    """Index into the mixture's sources."""
    number: Array
    """How many samples of this source the lane took before."""
    places: Places


@dataclass(frozen=True)
class PlannedSource:
    """What the plan knows of a source."""

    name: str
    samples: int
    weight: int
    block: int


class StreamPlan:
    """The whole endless stream, as arithmetic."""

    def __init__(self, sources: Sequence[PlannedSource], seed: int, batch: int, lanes: int) -> None:
        self.batch, self.lanes = batch, lanes
        self.mixing = Mixing([source.weight for source in sources], lanes)
        self.orders = [
            SourceOrder(source.name, source.samples, lanes, source.block, seed)
            for source in sources
        ]

    def slots(self, step: int, lanes: Array, steps: int = 1) -> Slots:
        """The samples of these lanes from a step on, batch / lanes of each at every step.

        Many steps at once cost less: a call takes about a millisecond whatever its length.
        """
        depth = self.batch // self.lanes
        slot = np.tile(np.arange(depth), len(lanes) * steps)
        lane = np.tile(np.repeat(lanes, depth), steps)
        at = np.repeat(np.arange(step, step + steps), len(lanes) * depth)
        number = at * depth + slot
        source = self.mixing.source(lane, number)
        taken = self.mixing.taken(source, lane, number)
        places = Places(*(np.empty(len(lane), np.int64) for _ in Places._fields))
        for index, order in enumerate(self.orders):
            mine = source == index
            found = order.places(lane[mine], taken[mine])
            for column, values in zip(places, found, strict=True):
                column[mine] = values
        return Slots(at, lane, slot, source, taken, places)


def part(slots: Slots, rows: slice) -> Slots:
    """Some rows of them."""
    step, lane, slot, source, number = (column[rows] for column in slots[:5])
    places = Places(*(column[rows] for column in slots.places))
    return Slots(step, lane, slot, source, number, places)


def lanes_of_rank(rank: int, world_size: int, lanes: int) -> Array:
    """The lanes that a rank reads: ⌊L/W⌋ or ⌈L/W⌉ neighbours."""
    return np.arange(rank * lanes // world_size, (rank + 1) * lanes // world_size)
