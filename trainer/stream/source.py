"""A source opened for reading: sample numbers to bytes, by ranged reads of its shards."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.format.patience import Patience, read_range
from pipeline.format.shards import Index, ShardSet, check_unchanged
from pipeline.format.tars import BLOCK, key_at, short_key
from trainer.stream.indexes import Indexes
from trainer.stream.pinned import Pinned


@dataclass(frozen=True)
class Record:
    """One sample as it lies in its tar."""

    sample: int
    key: str
    """As the tar member is named, if nothing is at fault; else as the index says."""
    image: bytes
    text: bytes
    url: str
    """Of the shard."""
    offset: int
    """Of the image in it."""
    fault: str = ""
    """Why these are not the sample's bytes, as `<kind>: <words>`."""


@dataclass(frozen=True)
class Run:
    """Neighbours in one shard, read at once. Records are cut out when they are wanted."""

    url: str
    """Of the shard."""
    first: int
    """Number of its first sample in the source."""
    index: Index
    """Of its samples alone."""
    data: bytes
    """From the start of the first sample to the end of the last."""

    def __len__(self) -> int:
        return len(self.index.keys)

    def __contains__(self, sample: int) -> bool:
        return self.first <= sample < self.first + len(self)

    def record(self, sample: int) -> Record:
        """A sample of this run, by its number in the source."""
        row, index = sample - self.first, self.index
        key = index.keys[row].as_py()
        offset, text = int(index.image_offset[row]), int(index.text_offset[row])
        return Record(
            sample=sample,
            key=key,
            image=self._cut(offset, int(index.image_nbytes[row])),
            text=self._cut(text, int(index.text_nbytes[row])) if text >= 0 else b"",
            url=self.url,
            offset=offset,
            fault=self._fault(row, key),
        )

    def has_faults(self) -> bool:
        """Whether something else than the index says stands before an image."""
        return any(self._fault(row, key) for row, key in enumerate(self.index.keys.to_pylist()))

    def _fault(self, row: int, key: str) -> str:
        """What is wrong with a sample's names: the proof is about what was delivered."""
        start, image = int(self.index.start[row]), int(self.index.image_offset[row])
        if short_key(self._cut(image - BLOCK, BLOCK)) == key:
            return ""
        try:  # a long or foreign name stands in an extended header
            found = key_at(self._cut(start, int(self.index.stop[row]) - start), image - start)
        except ValueError:
            return "not_in_tar: no header stands where the index says"
        return "" if found == key else f"not_in_tar: {found[:100]!r} stands where the index says"

    def _cut(self, offset: int, nbytes: int) -> bytes:
        at = offset - int(self.index.start[0])
        return self.data[at : at + nbytes]


class Source:
    """Shards whose samples have numbers, in shard order. Safe to share between threads."""

    def __init__(self, name: str, shards: ShardSet, patience: Patience | None = None) -> None:
        self.name, self.shards, self.patience = name, shards, patience or Patience()
        self.ends = np.cumsum(shards.samples)
        self.indexes = Indexes(shards, self.patience)
        self.pinned: Pinned | None = None
        """Copies on this node's disk, which are asked before the store."""

    def __len__(self) -> int:
        return int(self.shards.samples.sum())

    @property
    def sample_bytes(self) -> float:
        """Mean size of a sample."""
        return float(self.shards.nbytes.sum()) / max(1, len(self))

    def read(self, start: int, length: int) -> list[Run]:
        """`length` samples from number `start` on, over the end to the beginning if need be.

        One ranged read a shard; bytes that are not what the index says are read twice. Raises
        HeadraceError if a shard cannot be read or was changed.
        """
        runs: list[Run] = []
        while length:
            shard = int(np.searchsorted(self.ends, start, side="right"))
            count = min(length, int(self.ends[shard]) - start)
            runs.append(self._read_run(shard, start, count, Run.has_faults))
            start, length = (start + count) % len(self), length - count
        return runs

    def records(self, start: int, length: int) -> list[Record]:
        """The same samples, cut out of their runs."""
        return [
            run.record(sample)
            for run in self.read(start, length)
            for sample in range(run.first, run.first + len(run))
        ]

    def again(self, sample: int, is_damaged: Callable[[Record], bool]) -> Record:
        """A sample by another read: damaged only if two reads of the store itself agree on it.

        A store may answer wrongly once, and a pinned copy may rot. Raises HeadraceError as `read`
        does, and if answers go on to differ until the deadline.
        """
        shard = int(np.searchsorted(self.ends, sample, side="right"))
        run = self._read_run(shard, sample, 1, lambda run: is_damaged(run.record(sample)))
        return run.record(sample)

    def _read_run(self, shard: int, start: int, count: int, is_wrong: Callable[[Run], bool]) -> Run:
        first = start - int(self.ends[shard] - self.shards.samples[shard])
        index = self.indexes[shard].part(first, count)
        url = self.shards.url(shard)

        def looks_wrong(data: bytes) -> bool:
            if not is_wrong(Run(url, start, index, data)):
                return False
            check_unchanged(self.shards, shard, self.patience)  # then no sample is to blame
            return True

        begin, end = int(index.start[0]), int(index.stop[-1])
        copy = self.pinned.read(self.shards, shard, begin, end) if self.pinned else None
        if copy is not None and not looks_wrong(copy):
            return Run(url, start, index, copy)
        data = read_range(url, begin, end, self.patience, looks_wrong)
        if self.pinned and copy not in (None, data):
            self.pinned.drop(self.shards, shard)
        if count > 1:  # of a single sample it would double the requests
            check_unchanged(self.shards, shard, self.patience)
        return Run(url, start, index, data)
