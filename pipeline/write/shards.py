"""Writing one shard: kept samples as a plain WebDataset tar, and its index."""

import hashlib
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.format import address, store, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Shard, parquet_bytes
from pipeline.pool.source import Fetch, fetching
from pipeline.write.alter import AlterConfig, finish
from pipeline.write.tar import Tar

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
    written = finished(dataset, path)
    if written:
        return written
    table = rows()
    with writing.publishing(address.join(dataset, path)) as file:
        tar = Tar(file)
        for source, mine in groupby(table.to_pylist(), key=itemgetter("source")):
            with fetching(formats[source], source) as fetch:
                for row in mine:
                    tar.add(row["shard_key"], _members(row, fetch, alter))
        index = tar.close()
    shard = Shard(path, table.num_rows, tar.nbytes, tar.digest.hexdigest())
    publish_index(dataset, shard, index)
    return shard


def _members(row: dict[str, Any], fetch: Fetch, alter: AlterConfig) -> dict[str, bytes]:
    image = fetch(row["key"], row["offset"], row["nbytes"])
    if hashlib.sha256(image).hexdigest() != row["sha256"]:
        raise HeadraceError(
            f"{row['source']}: sample {row['key']} is not what was measured; the source changed "
            "in place: run `headrace measure` again"
        )
    image, extension, meta = finish(image, row, alter)
    return {extension: image, "json": meta.encode(), "txt": row["caption"].encode()}


def publish_index(dataset: str, shard: Shard, index: pa.Table) -> None:
    """The index, which carries the tar's size and digest: with it, the shard is complete."""
    facts = {"nbytes": str(shard.nbytes), "sha256": shard.sha256}
    table = index.replace_schema_metadata(facts)
    writing.publish(address.join(dataset, shard.index_path), parquet_bytes(table))


def finished(dataset: str, path: str) -> Shard | None:
    """The shard with its size and digest, if an earlier run completed it."""
    url = address.join(dataset, Shard(path, 0, 0, "").index_path)
    if not store.exists(url):
        return None
    with store.open_read(url) as file:
        found = pq.read_metadata(file)
    facts = found.schema.to_arrow_schema().metadata
    return Shard(path, found.num_rows, int(facts[b"nbytes"]), facts[b"sha256"].decode())
