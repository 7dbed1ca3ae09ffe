"""The open blocks of a rank, and the next ones, which are read before they are due.

A lane has one block of a source open and at most one more on its way. The next is asked for when a
share of the open one is used up, another share for every lane and never over a half: so reads are
spread over time, and one that is done before half a block is used up keeps nobody waiting.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import NamedTuple

import numpy as np

from trainer.stream.decode import Planned
from trainer.stream.order import Array, SourceOrder
from trainer.stream.plan import Slots
from trainer.stream.source import Record, Run, Source

Reader = tuple[int, int]
"""Source and lane."""
Name = tuple[int, int, int]
"""Of a block: epoch, first sample, samples."""


class Next(NamedTuple):
    """A block to be asked for when a row of the plan was read."""

    row: int
    reader: Reader
    name: Name


def next_blocks(
    slots: Slots, orders: Sequence[SourceOrder], lanes: Array, fresh: bool
) -> list[Next]:
    """The blocks to ask for in the course of some slots, by row.

    `lanes` are all of the rank's. `fresh` slots follow no others: what should have been asked for
    before them is asked for now.
    """
    length, left = slots.places.block_length, slots.places.left
    used = length - left
    share = (slots.lane - lanes[0]) / (2 * len(lanes)) * length
    due = (used > share) & (used - 1 <= share)
    if fresh:
        late = np.flatnonzero(used > share)
        readers = np.stack([slots.source, slots.lane])[:, late]
        due[late[np.unique(readers, axis=1, return_index=True)[1]]] = True
    rows = np.flatnonzero(due)
    return sorted(one for source in range(len(orders)) for one in _of(source, rows, slots, orders))


def _of(source: int, rows: Array, slots: Slots, orders: Sequence[SourceOrder]) -> Iterator[Next]:
    mine = rows[slots.source[rows] == source]
    lane = slots.lane[mine]
    places = orders[source].places(lane, slots.number[mine] + slots.places.left[mine] + 1)
    names = (places.epoch, places.block_start, places.block_length)
    columns = (column.tolist() for column in (mine, lane, *names))
    for row, lane_, *name in zip(*columns, strict=True):
        yield Next(row, (source, lane_), (name[0], name[1], name[2]))


class Blocks:
    """Blocks by source and lane. For one thread; `pool` does the reading."""

    def __init__(self, sources: Sequence[Source], pool: Executor) -> None:
        self.sources, self.pool = sources, pool
        self._open: dict[Reader, tuple[Name, Future[list[Run]]]] = {}
        self._next: dict[Reader, tuple[Name, Future[list[Run]]]] = {}

    def planned(self, slots: Slots) -> list[Planned]:
        """The records of some slots, in their order. Waits for the bytes.

        They are copied out of their blocks: a block must not live on for one record's sake.
        """
        places = slots.places
        block = (places.epoch, places.block_start, places.block_length)
        columns = (slots.source, slots.lane, places.sample, *block)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        due = [(self._due((row[0], row[1]), row[3:]), *row[:4]) for row in rows]
        return [
            Planned(self.sources[source], epoch, _record(block.result(), sample))
            for block, source, _, sample, epoch in due
        ]

    def ask(self, blocks: Sequence[Next]) -> None:
        """Has the last of these blocks of each reader read, if it is not open already."""
        last = {reader: name for _, reader, name in blocks}
        for reader, name in last.items():
            if self._open[reader][0] != name:
                self._next[reader] = name, self._read(reader, name)

    def _due(self, reader: Reader, name: Name) -> Future[list[Run]]:
        if reader not in self._open or self._open[reader][0] != name:
            asked = self._next.pop(reader, None)
            known = asked is not None and asked[0] == name
            self._open[reader] = asked if asked and known else (name, self._read(reader, name))
        return self._open[reader][1]

    def _read(self, reader: Reader, name: Name) -> Future[list[Run]]:
        return self.pool.submit(self.sources[reader[0]].read, *name[1:])


def _record(runs: list[Run], sample: int) -> Record:
    return next(run for run in runs if sample in run).record(sample)


def held_samples(block: int, depth: int) -> int:
    """Most samples that are held of a lane and source, at `depth` samples of the lane a step.

    Two blocks; or, where a step takes more than one, all that it takes and one at either end.
    """
    return 2 * block if depth <= block else depth + 2 * block
