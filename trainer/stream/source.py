"""A source opened for reading: sample numbers to bytes, by ranged reads of its shards."""

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np

from pipeline.format.patience import Patience, read_range
from pipeline.format.shards import Index, ShardSet, read_index
from pipeline.format.tars import BLOCK, key_in_header

INDEXES_HELD = 64
"""Shard indexes in memory at once; one of 10,000 samples is about 1 MB."""


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
            fault=_fault(self._cut(offset - BLOCK, BLOCK), key),
        )

    def _cut(self, offset: int, nbytes: int) -> bytes:
        at = offset - int(self.index.start[0])
        return self.data[at : at + nbytes]


def _fault(header: bytes, key: str) -> str:
    """What is wrong with the header before an image: the proof is about what was delivered."""
    try:
        found = key_in_header(header)
    except ValueError:
        return "not_in_tar: no header stands where the index says"
    return "" if found == key else f"not_in_tar: {found[:100]!r} stands where the index says"


class Source:
    """Shards whose samples have numbers, in shard order. Safe to share between threads."""

    def __init__(self, name: str, shards: ShardSet, patience: Patience | None = None) -> None:
        self.name, self.shards, self.patience = name, shards, patience or Patience()
        self.ends = np.cumsum(shards.samples)
        self._index = lru_cache(INDEXES_HELD)(self._read_index)
        self._index_locks: dict[int, Lock] = {}

    def __len__(self) -> int:
        return int(self.shards.samples.sum())

    @property
    def sample_bytes(self) -> float:
        """Mean size of a sample."""
        return float(self.shards.nbytes.sum()) / max(1, len(self))

    def read(self, start: int, length: int) -> list[Run]:
        """`length` samples from number `start` on, over the end to the beginning if need be.

        One ranged read a shard. Raises HeadraceError if a shard cannot be read.
        """
        runs: list[Run] = []
        while length:
            shard = int(np.searchsorted(self.ends, start, side="right"))
            count = min(length, int(self.ends[shard]) - start)
            runs.append(self._read_run(shard, start, count))
            start, length = (start + count) % len(self), length - count
        return runs

    def records(self, start: int, length: int) -> list[Record]:
        """The same samples, cut out of their runs."""
        return [
            run.record(sample)
            for run in self.read(start, length)
            for sample in range(run.first, run.first + len(run))
        ]

    def _read_run(self, shard: int, start: int, count: int) -> Run:
        first = start - int(self.ends[shard] - self.shards.samples[shard])
        with self._index_locks.setdefault(shard, Lock()):  # lanes that meet here read it once
            index = self._index(shard).part(first, count)
        url = self.shards.url(shard)
        data = read_range(url, int(index.start[0]), int(index.stop[-1]), self.patience)
        return Run(url, start, index, data)

    def _read_index(self, shard: int) -> Index:
        return read_index(self.shards, shard)
