"""The plan: one verdict per pool image, and where it is kept.

    <snapshot>/plan/00000000.parquet    one file per part of the pool, row-aligned with the ledger
    <snapshot>/sources.parquet          the parts, in pool order

A row's number in the pool is its place in that order; a duplicate names its keeper by it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.format import address, writing
from pipeline.format.snapshot import parquet_bytes, read_parquet

PLAN_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("key", pa.string()),
        ("offset", pa.int64()),
        ("uid", pa.string()),
        ("generation", pa.int32()),  # index of the first snapshot of the chain with this source
        ("keep", pa.bool_()),
        ("reason", pa.string()),  # null for kept rows, else a verdict.Reason
        ("detail", pa.string()),  # the figure and the threshold
        ("keeper", pa.int64()),  # duplicates: number in the pool of the row that stands for it
        ("shard", pa.int32()),  # kept rows: index into the manifest's shards
        ("position", pa.int32()),  # and place in that shard
        ("shard_key", pa.string()),  # and key there: the uid, or <uid>-<n> for a repeat
    ]
)

SOURCES_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("format", pa.string()),
        ("part", pa.string()),
        ("nbytes", pa.int64()),
        ("generation", pa.int32()),
        ("first_row", pa.int64()),  # number in the pool of the part's first row
        ("rows", pa.int64()),
        ("not_downloaded", pa.int64()),  # rows of its sidecar that never had an image
    ]
)


def part_url(snapshot_url: str, number: int) -> str:
    """Where the verdicts of one part lie; parts are numbered in pool order."""
    return address.join(snapshot_url, "plan", f"{number:08d}.parquet")


def sources_url(snapshot_url: str) -> str:
    """Where the list of parts lies."""
    return address.join(snapshot_url, "sources.parquet")


def write_part(snapshot_url: str, number: int, table: pa.Table) -> None:
    """Publishes the verdicts of one part whole."""
    writing.publish(part_url(snapshot_url, number), parquet_bytes(table))


def read_sources(snapshot_url: str) -> pa.Table:
    """The parts that a snapshot was decided on, SOURCES_SCHEMA, in pool order."""
    return read_parquet(sources_url(snapshot_url))


def read_part(snapshot_url: str, number: int, columns: Sequence[str] | None = None) -> pa.Table:
    """The verdicts of one part, in its order. Raises HeadraceError if they are not there."""
    return read_parquet(part_url(snapshot_url, number), list(columns) if columns else None)


def read(snapshot_url: str, columns: Sequence[str] | None = None) -> pa.Table:
    """All verdicts, in pool order: row n of the table is number n in the pool."""
    numbers = range(read_sources(snapshot_url).num_rows)
    schema = pa.schema([field for field in PLAN_SCHEMA if columns is None or field.name in columns])
    tables = [read_part(snapshot_url, number, schema.names) for number in numbers]
    return pa.concat_tables([schema.empty_table(), *tables])


def row_at(snapshot_url: str, sources: pa.Table, row: int) -> dict[str, Any]:
    """The verdict of row number `row` of the pool; one file is read."""
    first = sources["first_row"].to_numpy()
    number = int(first.searchsorted(row, side="right")) - 1
    part = read_part(snapshot_url, number)
    return part.slice(row - int(first[number]), 1).to_pylist()[0]


def digest(table: pa.Table) -> bytes:
    """32 bytes that name the verdicts of one part, however they are held in memory."""
    hashing = hashlib.sha256(str(table.num_rows).encode())
    for name in PLAN_SCHEMA.names:
        for data in _content(pa.concat_arrays(table[name].chunks)) if table.num_rows else ():
            hashing.update(data)
    return hashing.digest()


def name_of(parts: Sequence[str], digests: Sequence[bytes]) -> str:
    """What names a plan, 64 hex digits: its parts, whose names stand for the pool's bytes, and the
    digest of the verdicts on each, in pool order."""
    hashing = hashlib.sha256("\n".join(parts).encode())
    hashing.update(b"".join(digests))
    return hashing.hexdigest()


def _content(column: pa.Array) -> Iterator[bytes]:
    """Which values are there, and what they are: the same for equal columns.

    Buffers are not: they may be slices of larger ones, and hold anything where a value is null.
    """
    yield np.packbits(column.is_valid().to_numpy(zero_copy_only=False)).tobytes()
    if pa.types.is_string(column.type):
        yield pc.binary_length(column).fill_null(0).to_numpy().tobytes()
        yield "".join(column.drop_null().to_pylist()).encode()
    else:
        yield (
            column.fill_null(False if pa.types.is_boolean(column.type) else 0)
            .to_numpy(zero_copy_only=False)
            .tobytes()
        )


def counts(table: pa.Table) -> dict[str, int]:
    """Rows by reason, kept ones as `kept`: they add up to the table's rows."""
    reasons = pc.value_counts(pc.fill_null(table["reason"], "kept"))
    return {entry["values"].as_py(): entry["counts"].as_py() for entry in reasons}
