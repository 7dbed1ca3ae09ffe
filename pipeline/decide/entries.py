"""The entries of a list file, a block at a time: ten million need not lie in memory as text."""

import itertools
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.format import store
from pipeline.format.errors import HeadraceError

AT_ONCE = 100_000


def read(url: str, column: str) -> Iterator[list[str]]:
    """Blocks of entries, without blanks around them and without empty ones.

    A `.parquet` file is read by its column, any other as text, where a line that opens with `#`
    is a comment. Raises HeadraceError if the file is not what its name says.
    """
    blocks = _of_parquet(url, column) if url.endswith(".parquet") else _of_text(url)
    for block in blocks:
        entries = [entry for text in block if (entry := text.strip())]
        if entries:
            yield entries


def _of_text(url: str) -> Iterator[list[str]]:
    with store.open_read(url) as file:
        while lines := list(itertools.islice(file, AT_ONCE)):
            texts = (line.decode(errors="replace") for line in lines)
            yield [text for text in texts if not text.lstrip("\ufeff \t").startswith("#")]


def _of_parquet(url: str, column: str) -> Iterator[list[str]]:
    with store.open_read(url) as file:
        try:
            table = pq.ParquetFile(file)
            _check(url, column, table.schema_arrow)
            for batch in table.iter_batches(AT_ONCE, columns=[column]):
                yield batch[column].drop_null().to_pylist()
        except pa.ArrowException as error:
            reason = str(error).splitlines()[0]
            raise HeadraceError(f"{url}: not a readable parquet file: {reason}") from error


def _check(url: str, column: str, schema: pa.Schema) -> None:
    if column not in schema.names:
        have = ", ".join(schema.names)
        raise HeadraceError(f"{url}: no column {column!r}; name one of {have} under `column`")
    kind = schema.field(column).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise HeadraceError(f"{url}: column {column!r} holds {kind}, not text")
