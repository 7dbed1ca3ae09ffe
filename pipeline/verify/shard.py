"""Whether a shard is what the manifest says, and its index what the shard holds."""

import hashlib
from collections.abc import Iterator
from functools import partial

import pyarrow as pa

from pipeline.format import address, store
from pipeline.format.patience import patiently
from pipeline.format.snapshot import INDEX_SCHEMA, Shard, index_tar
from pipeline.verify.damage import PATIENCE, listed, read_sound

CHUNK = 8_000_000
"""Bytes of a tar that are held at a time."""


def check(dataset: str, shard: Shard) -> list[str]:
    """What is wrong with a tar and its index, a line each; empty if both are sound.

    The tar is read twice, whole for its digest and once more for its headers; of both nothing
    is held but an index.
    """
    tar, index = address.join(dataset, shard.path), address.join(dataset, shard.index_path)
    damages = listed(_tar(tar, shard))
    return damages + listed(_index(index, shard, None if damages else tar))


def _tar(url: str, shard: Shard) -> Iterator[str]:
    nbytes = store.stat(url).nbytes
    if nbytes != shard.nbytes:
        yield f"{url}: has {nbytes:,} bytes, and the manifest says {shard.nbytes:,}"
    elif (digest := patiently(partial(sha256, url), url, PATIENCE)) != shard.sha256:
        yield f"{url}: has other bytes: sha256 {digest}, and the manifest says {shard.sha256}"


def sha256(url: str) -> str:
    """The digest of a file's bytes, 64 hex digits."""
    digest = hashlib.sha256()
    with store.reading(url), store.open_read(url) as file:
        while data := file.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()


def _index(url: str, shard: Shard, tar: str | None) -> Iterator[str]:
    """`tar` is None if it is damaged itself: then there is nothing to hold its index against."""
    index = read_sound(url, INDEX_SCHEMA)
    facts = index.schema.metadata or {}
    told = facts.get(b"nbytes"), facts.get(b"sha256")
    if told != (str(shard.nbytes).encode(), shard.sha256.encode()):
        yield f"{url}: its metadata tell of another tar than the manifest does"
    if index.num_rows != shard.samples:
        yield f"{url}: has {index.num_rows:,} samples, and the manifest says {shard.samples:,}"
    if tar is None:
        return
    scanned = patiently(partial(index_tar, tar), tar, PATIENCE)
    if not scanned.equals(index):
        yield f"{url}: is not the index of its tar, from place {_parting(index, scanned)} on"


def _parting(one: pa.Table, other: pa.Table) -> int:
    """The first row in which two tables differ."""
    rows = min(one.num_rows, other.num_rows)
    for place in range(rows):
        if not one.slice(place, 1).equals(other.slice(place, 1)):
            return place
    return rows
