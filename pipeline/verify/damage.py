"""What a check finds: one line for each damaged file, which names it and says what is wrong."""

from collections.abc import Iterator

import pyarrow as pa

from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience, read_whole
from pipeline.format.snapshot import parse_parquet

PATIENCE = Patience(deadline=60)
"""A store that fails for a minute, or a disk that cannot be read, is told as damage."""


def listed(check: Iterator[str]) -> list[str]:
    """All that a check finds. A file that cannot be read ends it, and is its last finding."""
    found: list[str] = []
    try:
        found.extend(check)  # what came before an error is kept
    except HeadraceError as error:
        found.append(str(error))
    return found


def read_sound(url: str, schema: pa.Schema) -> pa.Table:
    """A parquet file whose columns are those of a schema, every value of them valid.

    Raises HeadraceError if it is missing or damaged, or holds other columns.
    """
    table = parse_parquet(url, pa.BufferReader(read_whole(url, PATIENCE)))
    if not table.schema.equals(schema):
        raise HeadraceError(f"{url}: has not the columns that headrace writes; restore it")
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise HeadraceError(f"{url}: not a readable parquet file: {error}") from error
    return table
