"""Writing one shard: kept samples as a plain WebDataset tar, and its index."""

import hashlib
from collections.abc import Callable
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import webdataset

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Shard, index_tar, parquet_bytes
from pipeline.pool.source import FORMATS as POOL_FORMATS
from pipeline.write.alter import AlterConfig, finish

WRITE_COLUMNS = ("source", "key", "offset", "nbytes", "sha256", "format", "caption", "meta")
"""Ledger columns that a shard is written from, beside the plan's `shard_key`."""


def shard_path(snapshot: str, number: int) -> str:
    """Where a shard of a snapshot lies in its dataset."""
    return f"shards/{snapshot}/{number:08d}.tar"


def write_shard(
    dataset: str,
    path: str,
    rows: Callable[[], pa.Table],
    formats: dict[str, str],
    alter: AlterConfig,
) -> Shard:
    """Copies the rows of one shard, in their order, and publishes the tar, then its index.

    `rows` gives WRITE_COLUMNS, those of `alter`, and `shard_key`; it is asked only if the shard is
    not there yet. `formats` maps a source to its pool format. Raises HeadraceError if a source
    changed since it was measured.
    """
    written = _published(dataset, path)
    if written:
        return written
    table = rows()
    with store.publishing(store.join(dataset, path)) as file:
        hashing = _Hashing(file)
        with webdataset.TarWriter(hashing, user="", group="", mtime=0, encoder=False) as tar:
            for row in table.to_pylist():
                tar.write(_sample(row, formats[row["source"]], alter))
        shard = Shard(path, table.num_rows, hashing.nbytes, hashing.digest.hexdigest())
    _publish_index(dataset, shard)
    return shard


def _sample(row: dict[str, Any], pool_format: str, alter: AlterConfig) -> dict[str, Any]:
    fetch = POOL_FORMATS[pool_format].fetch
    image = fetch(row["source"], row["key"], row["offset"], row["nbytes"])
    if hashlib.sha256(image).hexdigest() != row["sha256"]:
        raise HeadraceError(
            f"{row['source']}: sample {row['key']} is not what was measured; the source changed "
            "in place: run `headrace measure` again"
        )
    image, extension, meta = finish(image, row, alter)
    return {
        "__key__": row["shard_key"],
        extension: image,
        "json": meta.encode(),
        "txt": row["caption"].encode(),
    }


def _publish_index(dataset: str, shard: Shard) -> None:
    """The index, which carries the tar's size and digest: with it, the shard is complete."""
    facts = {"nbytes": str(shard.nbytes), "sha256": shard.sha256}
    table = index_tar(store.join(dataset, shard.path)).replace_schema_metadata(facts)
    store.publish(store.join(dataset, shard.index_path), parquet_bytes(table))


def _published(dataset: str, path: str) -> Shard | None:
    """The shard with its size and digest, if an earlier run completed it."""
    url = store.join(dataset, Shard(path, 0, 0, "").index_path)
    if not store.exists(url):
        return None
    with store.open_read(url) as file:
        found = pq.read_metadata(file)
    facts = found.schema.to_arrow_schema().metadata
    return Shard(path, found.num_rows, int(facts[b"nbytes"]), facts[b"sha256"].decode())


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
