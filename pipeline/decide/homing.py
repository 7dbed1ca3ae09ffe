"""Bringing home what a shuffle found: sorted rows, cut into the tables that they belong to."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def slices(
    found: Iterator[pa.Table], bounds: npt.NDArray[np.int64], schema: pa.Schema
) -> Iterator[pa.Table]:
    """For each table of the pool, the rows of `found` that lie in it.

    `found` comes in pieces, in the order of `row`; `bounds[n]` is the number of table n's first
    row, with the number of all rows at the end. Holds one piece and one slice at a time.
    """
    held = schema.empty_table()
    for stop in bounds[1:].tolist():
        while not held.num_rows or held["row"][-1].as_py() < stop:
            piece = next(found, None)
            if piece is None:
                break
            held = pa.concat_tables([held, piece.select(schema.names).cast(schema)])
        cut = int(np.searchsorted(held["row"].to_numpy(), stop))
        yield held.slice(0, cut).combine_chunks()
        held = held.slice(cut)


def places(found: pa.Table, rows: pa.Table) -> npt.NDArray[np.int64]:
    """Where the rows that a slice names lie in their table, whose rows are numbered in order."""
    if not rows.num_rows:
        return np.zeros(0, np.int64)
    return found["row"].to_numpy() - rows["row"][0].as_py()
