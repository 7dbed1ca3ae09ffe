"""A source opened for reading: sample numbers to bytes, by ranged reads of its shards."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, read_index
from pipeline.format.tars import BLOCK, key_in_header

INDEXES_HELD = 64
"""Shard indexes in memory at once; one of 10,000 samples is about 1 MB."""


@dataclass(frozen=True)
class Record:
    """One sample as it lies in its tar."""

    sample: int
    key: str
    """Read from the tar member, not from the index: the proof is about what was delivered."""
    image: bytes
    text: bytes


class Source:
    """A snapshot whose samples have numbers, in shard order. Safe to share between threads."""

    def __init__(self, name: str, snapshot: Snapshot) -> None:
        self.name, self.snapshot = name, snapshot
        counts = [shard.samples for shard in snapshot.shards]
        self.ends = np.cumsum(counts, dtype=np.int64)
        self._index = lru_cache(INDEXES_HELD)(self._read_index)
        self._index_locks: dict[int, Lock] = {}

    def __len__(self) -> int:
        return self.snapshot.samples

    @property
    def sample_bytes(self) -> float:
        """Mean size of a sample."""
        return sum(shard.nbytes for shard in self.snapshot.shards) / max(1, len(self))

    def read(self, start: int, length: int) -> list[Record]:
        """`length` samples from number `start` on, over the end to the beginning if need be.

        One ranged read a shard. Raises HeadraceError if a shard cannot be read.
        """
        records: list[Record] = []
        while length:
            shard = int(np.searchsorted(self.ends, start, side="right"))
            count = min(length, int(self.ends[shard]) - start)
            records += self._read_run(shard, start, count)
            start, length = (start + count) % len(self), length - count
        return records

    def _read_run(self, shard: int, start: int, count: int) -> Iterator[Record]:
        described = self.snapshot.shards[shard]
        first = start - (int(self.ends[shard]) - described.samples)
        with self._index_locks.setdefault(shard, Lock()):  # lanes that meet here read it once
            index = self._index(shard)
        rows = index.slice(first, count).to_pylist()
        begin, stop = rows[0]["start"], rows[-1]["stop"]
        url = store.join(self.snapshot.dataset, described.path)
        data = store.read_bytes(url, begin, stop)
        # A store gives what there is: the rest of a cut shard must not pass for damaged samples.
        if len(data) != stop - begin:
            raise HeadraceError(
                f"{url}: ends at byte {begin + len(data)}, the index says {stop} or later; "
                "the shard was cut: restore this file"
            )
        for number, row in enumerate(rows, start):
            yield _record(number, row, data, begin)

    def _read_index(self, shard: int) -> pa.Table:
        return read_index(self.snapshot.dataset, self.snapshot.shards[shard])


def _record(number: int, row: dict[str, Any], data: bytes, begin: int) -> Record:
    at = row["image_offset"] - begin
    try:
        key = key_in_header(data[at - BLOCK : at])
    except ValueError:
        key = ""  # no tar header where the index says: a damaged shard, found by the reader
    text = b""
    if row["text_offset"] is not None:
        text_at = row["text_offset"] - begin
        text = data[text_at : text_at + row["text_nbytes"]]
    image = data[at : at + row["image_nbytes"]] if key == row["key"] else b""
    return Record(number, key, image, text)
