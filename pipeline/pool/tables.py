"""Parquet files of unknown make: read a few rows at a time, as records that json can hold."""

import math
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.format import store
from pipeline.pool.sample import MAX_TEXT_BYTES

BATCH = 16
"""Rows in memory at a time: with images of a megabyte, some 16 MB."""

PIECE = 1 << 20
"""Bytes asked of the store at a time, however large a row group is."""


class DamageError(Exception):
    """The file, or a row group of it, is not what its format says. One line of words."""


class Table:
    """An opened parquet file that tells its own damage from a failure of its store."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = _Watched(file)
        try:
            self._parquet = pq.ParquetFile(self._file, pre_buffer=False, buffer_size=PIECE)
            self.schema: pa.Schema = self._parquet.schema_arrow
            groups = range(self._parquet.metadata.num_row_groups)
            self.groups = [self._parquet.metadata.row_group(n).num_rows for n in groups]
        except Exception as error:
            raise self._failure(error) from error
        if min(self.groups, default=0) < 0:
            raise DamageError("a row group of less than no rows")

    def batches(self, group: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """The rows of one row group, BATCH at a time. Raises DamageError where it cannot go on."""
        left = self.groups[group]
        batches = self._open(group, columns)
        while left > 0:
            try:
                batch = next(batches, None)
            except Exception as error:  # a decoder fed with garbage may raise anything
                raise self._failure(error) from error
            if not batch:
                raise DamageError(f"the row group ends {left} rows early")
            left -= batch.num_rows
            yield batch

    def _open(self, group: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        yield from self._parquet.iter_batches(
            batch_size=BATCH, row_groups=[group], columns=columns, use_threads=False
        )

    def _failure(self, error: Exception) -> Exception:
        words = " ".join(str(error).split())[:200]
        return self._file.failure or DamageError(words or type(error).__name__)


class _Watched:
    """A file as pyarrow may see it, which remembers what its store raised."""

    closed = False
    mode = "rb"

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.failure: Exception | None = None
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        try:
            return self.file.read(count)
        except Exception as error:
            self.failure = error
            raise

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def open_scattered(url: str, piece: int = PIECE) -> IO[bytes]:
    """A file of which pieces are read here and there: small blocks, the last 32 are kept.

    A store's usual way, reading far ahead, would load a whole file to see its headers.
    """
    fs, path = store.filesystem(url)
    with store.reading(url):
        return fs.open(path, "rb", block_size=piece, cache_type="blockcache")


def record(row: pa.RecordBatch) -> dict[str, Any]:
    """A batch of one row as a record without nulls; none if it is larger than any text may be."""
    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in row.columns]
    if sum(column.nbytes for column in columns) > MAX_TEXT_BYTES:
        return {}
    fields = zip(row.schema.names, columns, strict=True)
    values = {name: _value(column[0]) for name, column in fields}
    return {name: value for name, value in values.items() if value is not None}


def _value(scalar: pa.Scalar) -> Any:
    """The value as json can hold it; what Python cannot hold is as good as null."""
    try:
        return _plain(scalar.as_py())
    except UnicodeDecodeError:
        is_text = pa.types.is_string(scalar.type) or pa.types.is_large_string(scalar.type)
        return scalar.as_buffer().to_pybytes().decode(errors="replace") if is_text else None
    except Exception:  # years of five digits, time zones that are none, nesting without end
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, str | int):
        return value
    return None if isinstance(value, bytes) else str(value)


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a column of this type holds bytes that are no text."""
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )
