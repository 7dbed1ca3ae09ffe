"""Writing one shard: kept samples, byte for byte, as a plain WebDataset tar and its index."""

import hashlib
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import webdataset

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.images import FORMATS
from pipeline.format.snapshot import Shard, index_tar, parquet_bytes
from pipeline.pool.source import FORMATS as POOL_FORMATS

WRITE_COLUMNS = ("source", "key", "offset", "nbytes", "sha256", "format", "caption", "meta")
"""Ledger columns that a shard is written from, beside the plan's `shard_key`."""


def shard_path(snapshot: str, number: int) -> str:
    """Where a shard of a snapshot lies in its dataset."""
    return f"shards/{snapshot}/{number:08d}.tar"


def write_shard(
    dataset: str, snapshot: str, number: int, rows: pa.Table, formats: dict[str, str]
) -> Shard:
    """Copies the rows of one shard, in their order, and publishes the tar, then its index.

    `rows` has WRITE_COLUMNS and `shard_key`; `formats` maps a source to its pool format. A shard
    that is already published is only looked up. Raises HeadraceError if a source changed since
    it was measured.
    """
    path = shard_path(snapshot, number)
    url = store.join(dataset, path)
    written = _published(dataset, Shard(path, rows.num_rows, 0, ""))
    if written:
        return written
    with store.publishing(url) as file:
        hashing = _Hashing(file)
        with webdataset.TarWriter(hashing, user="", group="", mtime=0, encoder=False) as tar:
            for row in rows.to_pylist():
                tar.write(_sample(row, formats[row["source"]]))
        shard = Shard(path, rows.num_rows, hashing.nbytes, hashing.digest.hexdigest())
    _publish_index(dataset, shard)
    return shard


def _sample(row: dict[str, Any], pool_format: str) -> dict[str, Any]:
    fetch = POOL_FORMATS[pool_format].fetch
    image = fetch(row["source"], row["key"], row["offset"], row["nbytes"])
    if hashlib.sha256(image).hexdigest() != row["sha256"]:
        raise HeadraceError(
            f"{row['source']}: sample {row['key']} is not what was measured; the source changed "
            "in place: run `headrace measure` again"
        )
    return {
        "__key__": row["shard_key"],
        FORMATS[row["format"]]: image,
        "json": row["meta"].encode(),
        "txt": row["caption"].encode(),
    }


def _publish_index(dataset: str, shard: Shard) -> None:
    """The index, which carries the tar's size and digest: with it, the shard is complete."""
    facts = {"nbytes": str(shard.nbytes), "sha256": shard.sha256}
    table = index_tar(store.join(dataset, shard.path)).replace_schema_metadata(facts)
    store.publish(store.join(dataset, shard.index_path), parquet_bytes(table))


def _published(dataset: str, shard: Shard) -> Shard | None:
    """The shard with its size and digest, if an earlier run completed it."""
    url = store.join(dataset, shard.index_path)
    if not store.exists(url):
        return None
    with store.open_read(url) as file:
        facts = pq.read_schema(file).metadata
    return Shard(shard.path, shard.samples, int(facts[b"nbytes"]), facts[b"sha256"].decode())


class _Hashing:
    """A file to write to that knows the size and digest of what went through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.nbytes = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.nbytes += len(data)
        return self.file.write(data)
