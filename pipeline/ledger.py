"""The ledger: what was measured, as row-aligned column families.

    <dataset>/ledger/<measure>/<fingerprint>/<part>.parquet

A family's fingerprint names what produced its facts, so a new model adds a family and measures
nothing else again. A part is published whole; what is published is not measured again.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import canonical_json, parquet_bytes, read_parquet
from pipeline.pool.sample import Part

IMAGE_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("key", pa.string()),
        ("offset", pa.int64()),  # of the image's bytes in the source
        ("uid", pa.string()),
        ("nbytes", pa.int64()),
        ("error", pa.string()),  # null, or "<kind>: <words>"
        ("sha256", pa.string()),
        ("format", pa.string()),
        ("width", pa.int32()),  # pixels, as stored
        ("height", pa.int32()),
        ("sharpness", pa.float32()),
        ("phash", pa.binary(32)),  # 256-bit PDQ
        ("phash_quality", pa.int16()),  # 0 to 100
        ("caption", pa.string()),
        ("caption_words", pa.int32()),
        ("caption_characters", pa.int32()),
        ("meta", pa.string()),  # the source's own json, canonical, without credentials
    ]
)

CLIP_SCHEMA = pa.schema(
    [
        ("clip_score", pa.float32()),  # cosine of image and caption; null if there is no image
        ("clip_embedding", pa.list_(pa.float16())),  # of the image, unit length
    ]
)

SCHEMAS = {"image": IMAGE_SCHEMA, "clip": CLIP_SCHEMA}

NARROW = [field.name for field in IMAGE_SCHEMA if field.name not in ("caption", "meta")]
"""The columns that decide reads."""


def fingerprint(measure: str, version: int, settings: dict[str, Any]) -> str:
    """Names what produces a family's facts: 16 hex digits."""
    return hashlib.sha256(canonical_json([measure, version, settings])).hexdigest()[:16]


def part_url(dataset: str, measure: str, fingerprint: str, part: str) -> str:
    """Where one part of a family lies."""
    return store.join(dataset, "ledger", measure, fingerprint, f"{part}.parquet")


def missing(dataset: str, measure: str, fingerprint: str, parts: Sequence[Part]) -> list[Part]:
    """The parts that are not published yet, in order, by one listing."""
    fs, folder = store.filesystem(store.join(dataset, "ledger", measure, fingerprint))
    done = (
        {name.rpartition("/")[2] for name in fs.ls(folder, detail=False)}
        if fs.exists(folder)
        else set()
    )
    return [part for part in parts if f"{part.name}.parquet" not in done]


def write_part(url: str, table: pa.Table) -> None:
    """Publishes one part whole."""
    store.publish(url, parquet_bytes(table))


def read(
    dataset: str, families: dict[str, str], parts: Sequence[str], columns: Sequence[str]
) -> pa.Table:
    """The named columns of all parts, one row per pool image, in the order of the parts.

    `families` maps a measure to its fingerprint. Raises HeadraceError if a part is missing or
    two families of a part do not line up.
    """
    tables = [_read_part(dataset, families, part, columns) for part in parts]
    return pa.concat_tables([_empty(families, columns), *tables])


def _empty(families: dict[str, str], columns: Sequence[str]) -> pa.Table:
    fields = [field for measure in families for field in SCHEMAS[measure]]
    return pa.schema([field for field in fields if field.name in columns]).empty_table()


def _read_part(
    dataset: str, families: dict[str, str], part: str, columns: Sequence[str]
) -> pa.Table:
    table: pa.Table | None = None
    for measure, mark in families.items():
        wanted = [name for name in SCHEMAS[measure].names if name in columns]
        url = part_url(dataset, measure, mark, part)
        if not store.exists(url):
            raise HeadraceError(f"{url}: this part is not measured yet; run `headrace measure`")
        family = read_parquet(url, wanted)
        if table is not None and family.num_rows != table.num_rows:
            raise HeadraceError(f"{url}: not as long as the image family; remove it, measure again")
        table = family if table is None else _side_by_side(table, family)
    assert table is not None
    return table


def _side_by_side(left: pa.Table, right: pa.Table) -> pa.Table:
    for name in right.column_names:
        left = left.append_column(right.schema.field(name), right.column(name))
    return left
