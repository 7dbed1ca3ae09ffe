"""Reading a list of URLs and captions, one slice at a time: memory does not grow with the list."""

import csv
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.settings import Settings

MAX_LINE = 4_000_000
"""Bytes of a csv line, and characters of a field in it."""


class ListConfig(Settings):
    """The list of what to fetch."""

    url: str = Field(min_length=1)
    """Parquet or csv files: a path or fsspec URL, with `{00000..00999}` ranges and `*` globs."""

    url_column: str = "url"
    """Column of the image URLs."""

    caption_column: str = "caption"
    """Column of the captions; in CommonPool's metadata it is `text`."""


@dataclass(frozen=True)
class Slice:
    """Consecutive rows of one file of a list: what becomes one shard."""

    file: str
    first: int
    """Number of its first row in the file."""
    rows: int
    start: int = 0
    """Of a csv file, the byte at which these rows begin."""


def slices(config: ListConfig, rows: int) -> list[Slice]:
    """The whole list in slices of `rows`, in order; the last one of a file may be shorter.

    Reads the footers of parquet files, and csv files once. Raises HeadraceError if a file is
    damaged or lacks a column.
    """
    found: list[Slice] = []
    for file in store.expand(config.url):
        with store.reading(file):
            cut = _csv_slices if _is_csv(file) else _parquet_slices
            found += cut(file, config, rows)
    if not found:
        raise HeadraceError(f"{config.url}: the list has no rows")
    return found


def read(part: Slice, config: ListConfig) -> pa.Table:
    """The rows of a slice, their columns as in the file, but for `url` and `caption`."""
    with store.reading(part.file):
        table = _read_csv(part) if _is_csv(part.file) else _read_parquet(part)
    if table.num_rows != part.rows:
        raise HeadraceError(f"{part.file}: the list changed while it was read")
    renamed = {config.url_column: "url", config.caption_column: "caption"}
    taken = [name for name in table.column_names if name in renamed or name not in renamed.values()]
    return table.select(taken).rename_columns([renamed.get(name, name) for name in taken])


def _is_csv(file: str) -> bool:
    if not file.endswith((".csv", ".parquet")):
        raise HeadraceError(f"{file}: a list is a .parquet or a .csv file")
    return file.endswith(".csv")


def _check_columns(file: str, columns: list[str], config: ListConfig) -> None:
    for name in (config.url_column, config.caption_column):
        if name not in columns:
            raise HeadraceError(
                f"{file}: no column {name!r}; set list.url_column and list.caption_column to two "
                f"of: {', '.join(map(str, columns))}"
            )
    if len(set(columns)) < len(columns):
        raise HeadraceError(f"{file}: two columns have the same name")


def _parquet_slices(file: str, config: ListConfig, rows: int) -> Iterator[Slice]:
    with store.open_read(file) as opened:
        footer = _parquet(file, opened)
        schema, total = footer.schema_arrow, footer.metadata.num_rows
    _check_columns(file, schema.names, config)
    for column in schema:
        if not _fits_json(column.type):
            raise HeadraceError(
                f"{file}: column {column.name!r} is {column.type}, which the json of a sample "
                "cannot hold; leave it out of the list"
            )
    for first in range(0, total, rows):
        yield Slice(file, first, min(rows, total - first))


def _fits_json(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _fits_json(kind.value_type)
    if pa.types.is_struct(kind):
        return all(_fits_json(field.type) for field in kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _fits_json(kind.value_type)
    plain = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    texts = (pa.types.is_string, pa.types.is_large_string)
    return any(fits(kind) for fits in (*plain, *texts))


def _read_parquet(part: Slice) -> pa.Table:
    """Reads the row groups that the slice lies in, a batch at a time."""
    with store.open_read(part.file) as opened:
        footer = _parquet(part.file, opened)
        sizes = [footer.metadata.row_group(n).num_rows for n in range(footer.num_row_groups)]
        ends = list(itertools.accumulate(sizes))
        stop = part.first + part.rows
        begins = zip(ends, sizes, strict=True)
        wanted = [
            n for n, (end, size) in enumerate(begins) if part.first < end and end - size < stop
        ]
        if not wanted:
            return footer.schema_arrow.empty_table()
        at, batches = ends[wanted[0]] - sizes[wanted[0]], []
        try:
            for batch in footer.iter_batches(batch_size=8192, row_groups=wanted):
                skip = max(part.first - at, 0)
                batches.append(batch.slice(skip, max(stop - at - skip, 0)))
                at += batch.num_rows
                if at >= stop:
                    break
        except (pa.ArrowException, OSError) as error:
            raise HeadraceError(f"{part.file}: not a readable parquet file: {error}") from error
    return pa.Table.from_batches(batches)


def _parquet(file: str, opened: IO[bytes]) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(opened)
    except (pa.ArrowException, OSError) as error:
        raise HeadraceError(f"{file}: not a readable parquet file: {error}") from error


class _Lines:
    """The lines of a csv file as the csv module wants them, with the place they end at."""

    def __init__(self, file: str, opened: IO[bytes], start: int = 0) -> None:
        opened.seek(start)
        self.file, self.opened, self.at = file, opened, start

    def __iter__(self) -> Iterator[str]:
        for line in iter(lambda: self.opened.readline(MAX_LINE), b""):
            if len(line) == MAX_LINE:
                raise HeadraceError(f"{self.file}: a line of over {MAX_LINE} bytes; not a csv list")
            self.at += len(line)
            yield line.decode("utf-8-sig" if self.at == len(line) else "utf-8", errors="replace")


def _records(file: str, lines: _Lines) -> Iterator[list[str]]:
    csv.field_size_limit(MAX_LINE)
    try:
        yield from (record for record in csv.reader(lines, strict=True) if record)
    except csv.Error as error:
        raise HeadraceError(
            f"{file}: not a readable csv before byte {lines.at}: {error}"
        ) from error


def _csv_slices(file: str, config: ListConfig, rows: int) -> Iterator[Slice]:
    with store.open_read(file) as opened:
        lines = _Lines(file, opened)
        records = _records(file, lines)
        _check_columns(file, next(records, []), config)
        start = lines.at
        for first in itertools.count(0, rows):
            count = sum(1 for _ in itertools.islice(records, rows))
            if count:
                yield Slice(file, first, count, start)
            if count < rows:
                return
            start = lines.at


def _read_csv(part: Slice) -> pa.Table:
    """Every column is text; what a short record lacks is null, what a long one adds is dropped."""
    with store.open_read(part.file) as opened:
        names = next(_records(part.file, _Lines(part.file, opened)), [])
        records = _records(part.file, _Lines(part.file, opened, part.start))
        rows: list[Any] = [
            dict(itertools.zip_longest(names, record[: len(names)]))
            for record in itertools.islice(records, part.rows)
        ]
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in names]))
