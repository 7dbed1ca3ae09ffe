"""Parquet files with image bytes, as Hugging Face writes them: `image: {bytes, path}`."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.pool.sample import Part, PoolImage, caption_of, part_name, uid_of
from pipeline.pool.tables import DamageError, Table, is_bytes, open_scattered, record

SLICE = 10_000
"""Rows in one part, rounded up to whole row groups. DESIGN.md "Ledger"."""

KEYS = ("key", "__key__", "uid")
"""Columns that may name a row; without one, its number does."""


def parts(url: str) -> list[Part]:
    """Slices of the files that the URL pattern names: whole row groups of SLICE rows or more.

    Raises HeadraceError if a file has no image column. One that cannot be read is one part.
    """
    return [part for file in store.expand(url) for part in _parts_of(store.stat(file))]


def _parts_of(stat: store.Stat) -> list[Part]:
    with store.reading(stat.url), open_scattered(stat.url) as file:
        try:
            table = Table(file)
        except DamageError:
            return [_part(stat, 0, 0, stat.nbytes)]
    _image_column(stat.url, table.schema)
    slices = _slices(table.groups)
    share = stat.nbytes // max(1, slices[-1][1])
    return [_part(stat, begin, end, share * (end - begin)) for begin, end in slices]


def _part(stat: store.Stat, begin: int, end: int, nbytes: int) -> Part:
    name = part_name("parquet", stat.url, stat.nbytes, stat.etag, begin, end)
    return Part("parquet", stat.url, name, nbytes, begin=begin, end=end)


def _slices(groups: list[int]) -> list[tuple[int, int]]:
    """Row groups of so many rows, gathered to [begin, end) of SLICE rows or more each."""
    slices, begin, end = [], 0, 0
    for rows in groups:
        end += rows
        if end - begin >= SLICE:
            slices.append((begin, end))
            begin = end
    return [*slices, (begin, end)] if end > begin or not slices else slices


def _image_column(url: str, schema: pa.Schema) -> str:
    """The column `image`, or the only one that holds bytes. Raises HeadraceError."""
    found = [field.name for field in schema if _holds_images(field.type)]
    if "image" in found and schema.names.count("image") == 1:
        return "image"
    if len(found) == 1 and schema.names.count(found[0]) == 1:
        return str(found[0])
    raise HeadraceError(
        f"{url}: which column holds the images? Wanted: `image` with bytes or {{bytes, path}}, or "
        f"one such column by another name; it has {', '.join(schema.names)[:500] or 'none'}"
    )


def _holds_images(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return is_bytes(kind)
    return kind.get_field_index("bytes") >= 0 and is_bytes(kind.field("bytes").type)


def read(part: Part, max_bytes: int) -> Iterator[PoolImage]:
    """The rows of the slice in order; what of a row group cannot be read is one row."""
    with open_scattered(part.source) as file:
        try:
            table = Table(file)
        except DamageError as damage:
            yield _damaged(part, 0, f"not a readable parquet file: {damage}")
            return
        image, names = _image_column(part.source, table.schema), _class_names(table.schema)
        columns = [f.name for f in table.schema if f.name == image or not _holds_images(f.type)]
        for row, found in _rows(table, part, columns):
            if isinstance(found, DamageError):
                yield _damaged(part, row, f"rows from {row} on cannot be read: {found}")
            else:
                yield _pool_image(part, row, found, image, names, max_bytes)


def _rows(
    table: Table, part: Part, columns: list[str]
) -> Iterator[tuple[int, pa.RecordBatch | DamageError]]:
    begin = 0
    for group, rows in enumerate(table.groups):
        if part.begin <= begin < part.end:
            yield from _rows_of(table, group, begin, columns)
        begin += rows


def _rows_of(
    table: Table, group: int, row: int, columns: list[str]
) -> Iterator[tuple[int, pa.RecordBatch | DamageError]]:
    """The rows of a group with their numbers, as batches of one; the damage last, if any."""
    try:
        for batch in table.batches(group, columns):
            for place in range(batch.num_rows):
                yield row, batch.slice(place, 1)
                row += 1
    except DamageError as damage:
        yield row, damage


def _damaged(part: Part, row: int, message: str) -> PoolImage:
    return PoolImage(
        source=part.source,
        key="",
        offset=row,
        nbytes=0,
        uid=uid_of({}, part.source, f"@{row}"),
        error=f"archive_damaged: {message}",
    )


def _pool_image(
    part: Part, row: int, batch: pa.RecordBatch, image: str, names: list[str], max_bytes: int
) -> PoolImage:
    """One row as a pool image. `batch` has that row alone."""
    value = _bytes_of(batch, image)
    data, error = b"", None
    if value is None:
        error = "no_image: the row has no image bytes"
    elif value.size > max_bytes:
        error = f"too_many_bytes: {value.size} is over {max_bytes}"
    else:
        data = value.to_pybytes()
    meta = _named(record(batch.drop_columns([image])), names)
    told = (meta.get(name) for name in KEYS)
    key = next((key for key in told if isinstance(key, str) and key), f"{row:09d}")
    return PoolImage(
        source=part.source,
        key=key,
        offset=row,
        nbytes=value.size if value else 0,
        uid=uid_of(meta, part.source, key),
        image=data,
        caption=caption_of(meta),
        meta=meta,
        error=error,
    )


def _bytes_of(batch: pa.RecordBatch, image: str) -> pa.Buffer | None:
    """The image bytes of a batch of one row, not copied."""
    value = batch.column(image)[0]
    if pa.types.is_struct(value.type) and value.is_valid:
        value = value["bytes"]
    return value.as_buffer() if value.is_valid else None


def _class_names(schema: pa.Schema) -> list[str]:
    """The names of Hugging Face's `label` classes, if the file tells them."""
    try:
        info = json.loads((schema.metadata or {})[b"huggingface"])
        names = info["info"]["features"]["label"]["names"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def _named(meta: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The record with its class by name, and the class's number beside it."""
    number = meta.get("label")
    if type(number) is int and 0 <= number < len(names):
        return {**meta, "label": names[number], "class_index": number}
    return meta


class _Cursor(threading.local):
    """Where this thread's last `fetch` stopped reading: the next is mostly a few rows further."""

    source = ""
    row = stop = 0
    rows: Iterator[tuple[int, pa.RecordBatch | DamageError]] = iter(())


_cursor = _Cursor()


def fetch(source: str, key: str, offset: int, nbytes: int) -> bytes:
    """The image bytes of one row, by its number.

    A row group can only be decoded from its start, so rows are cheap in their order and dear at
    random. Raises HeadraceError if the row cannot be read again.
    """
    with store.reading(source):
        try:
            data = _row_at(source, offset)
        except DamageError:
            data = None
    if data is None:
        raise HeadraceError(f"{source}: row {offset} is not what it was; the file changed")
    return data.to_pybytes()


def _row_at(source: str, offset: int) -> pa.Buffer | None:
    known, _cursor.source = _cursor.source, ""  # what fails on the way leaves no cursor behind
    if known != source or not _cursor.row <= offset < _cursor.stop:
        _open_at(source, offset)
    for row, found in _cursor.rows:
        if isinstance(found, DamageError):
            raise found
        if row == offset:
            _cursor.source, _cursor.row = source, row + 1
            return _bytes_of(found, found.schema.names[0])
    return None


def _open_at(source: str, offset: int) -> None:
    """Puts the cursor at the start of the row group that holds a row. Raises DamageError."""
    table = Table(open_scattered(source))
    _cursor.stop = 0
    for group, rows in enumerate(table.groups):
        _cursor.row, _cursor.stop = _cursor.stop, _cursor.stop + rows
        if offset < _cursor.stop:
            image = _image_column(source, table.schema)
            _cursor.rows = _rows_of(table, group, _cursor.row, [image])
            return
    raise DamageError(f"no row {offset}")
