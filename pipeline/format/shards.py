"""The shards of one source, whatever they came from: all that a stream knows before it reads.

A source of 200,000 shards is three arrays and two lists of short strings; no index is read until a
sample of its shard is wanted.
"""

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.format import address, store
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience, patiently, read_whole
from pipeline.format.snapshot import Snapshot, parse_parquet

Int64 = npt.NDArray[np.int64]

SCANNER = 1
"""Counts up when a scan finds other samples: indexes that were kept before are not used then."""


@dataclass(frozen=True, eq=False)
class ShardSet:
    """Tars in a fixed order. Samples are numbered through them."""

    id: str
    """Of the whole set: another one has other samples or another order."""
    label: str
    """What messages call it: a URL."""
    root: str
    """What the URLs of all shards begin with."""
    paths: tuple[str, ...]
    """The rest of each shard's URL."""
    samples: Int64
    nbytes: Int64
    versions: tuple[str, ...]
    """Of each shard: the sha256 of its bytes in a snapshot, else the store's ETag."""
    indexes: str | None = None
    """Folder of the indexes of tars that are not ours; None: each lies beside its tar."""

    def url(self, n: int) -> str:
        """Where shard `n` lies."""
        return self.root + self.paths[n]

    def index_url(self, n: int) -> str:
        """Where the index of shard `n` lies."""
        if self.indexes is None:
            return self.url(n).removesuffix(".tar") + ".idx.parquet"
        return kept_index(self.indexes, self.fingerprint(n))

    def fingerprint(self, n: int) -> str:
        """Shard `n` by its full URL, size and version: what caches keep it under, 32 hex digits."""
        return fingerprint(self.url(n), int(self.nbytes[n]), self.versions[n])


def fingerprint(url: str, nbytes: int, version: str) -> str:
    """The name of one state of one file: equal base names in two places never meet."""
    return hashlib.sha256(f"{SCANNER}\0{url}\0{nbytes}\0{version}".encode()).hexdigest()[:32]


def kept_index(folder: str, fingerprint: str) -> str:
    """Where the index of a tar that is not ours lies in the folder of such indexes."""
    return address.join(folder, f"{fingerprint}.idx.parquet")


def of_snapshot(snapshot: Snapshot) -> ShardSet:
    """The shards of a snapshot, which never change."""
    shards = snapshot.shards
    return ShardSet(
        id=snapshot.id,
        label=snapshot.url,
        root=address.join(snapshot.dataset, ""),
        paths=tuple(shard.path for shard in shards),
        samples=np.array([shard.samples for shard in shards], np.int64),
        nbytes=np.array([shard.nbytes for shard in shards], np.int64),
        versions=tuple(shard.sha256 for shard in shards),
    )


class Index(NamedTuple):
    """Where the samples of a shard lie in it: columns of one length, offsets in bytes."""

    keys: pa.StringArray
    start: Int64
    """First byte of the sample, its first header."""
    stop: Int64
    """End of its last member's data."""
    image_offset: Int64
    image_nbytes: Int64
    text_offset: Int64
    """-1 where there is no caption."""
    text_nbytes: Int64

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return int(self.keys.nbytes) + sum(column.nbytes for column in self[1:])

    def part(self, first: int, count: int) -> "Index":
        """A copy of some rows, which does not keep the whole index in memory."""
        rows = np.arange(first, first + count)
        return Index(self.keys.take(_arrow(rows)), *(column[rows] for column in self[1:]))


COLUMNS = ["key", *Index._fields[1:]]
"""Those of INDEX_SCHEMA that a stream needs: reading them takes a third of reading all."""


def read_index(shards: ShardSet, n: int, patience: Patience | None = None) -> Index:
    """The index of shard `n`. Raises HeadraceError if it is missing, or not that of this shard."""
    patience = patience or Patience()
    check_unchanged(shards, n, patience)
    url = shards.index_url(n)
    table = parse_parquet(url, pa.BufferReader(read_whole(url, patience)), COLUMNS)
    if table.num_rows != shards.samples[n]:
        raise HeadraceError(
            f"{url}: holds {table.num_rows} samples, {shards.label} says {shards.samples[n]}; "
            "the dataset is damaged: restore this file"
        )
    keys, *numbers = (column.combine_chunks() for column in table.columns)
    absent = _arrow(np.array([-1]))[0]
    filled = (np.from_dlpack(column.fill_null(absent)) for column in numbers)
    return Index(keys, *(column.astype(np.int64, copy=False) for column in filled))


def _arrow(values: Int64) -> pa.Int64Array:
    """The same numbers for Arrow, whose own conversions import pandas first, for half a second."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def check_unchanged(shards: ShardSet, n: int, patience: Patience) -> None:
    """Raises HeadraceError if shard `n` is no longer the one that the set was made of.

    Those of a snapshot never change, and are not looked up.
    """
    if shards.indexes is None:
        return
    url, nbytes, version = shards.url(n), int(shards.nbytes[n]), shards.versions[n]
    now = patiently(partial(store.stat, url, patience.stall), url, patience)
    if (now.nbytes, now.etag) != (nbytes, version):
        raise HeadraceError(
            f"{address.redact(url)}: was changed under the run: {nbytes} bytes of version "
            f"{version} are now {now.nbytes} of {now.etag}; restore it, or begin another run"
        )
