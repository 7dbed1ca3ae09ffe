"""Equal images: of each set with one look, or else one sha256, the first in keeper order stays.

Equal bytes have equal looks, so one shuffle finds both. A picture that the pool holds thousands of
times, each encoded anew, ends here and gives no pairs.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.decide.engine import Engine, Handle
from pipeline.decide.homing import places, slices
from pipeline.decide.verdict import Reason, keeper_order, replaced, standing, stands_in, words

REPEATS = pa.schema([("row", pa.int64()), ("keeper", pa.int64()), ("bytes", pa.bool_())])
"""A row, the row that stands for it, and whether they have the same bytes."""


def apply(engine: Engine, tables: list[Handle], bounds: npt.NDArray[np.int64]) -> list[Handle]:
    """Drops all but the first of each set of equal images. `bounds` are the tables' first rows."""
    found = engine.shuffle(engine.map(candidates, tables), "same", repeats)
    return engine.map(drop_repeats, tables, slices(found, bounds, REPEATS))


def candidates(rows: pa.Table) -> pa.Table:
    """JUDGED rows that may stay or stand for others, without what only a reader needs."""
    chosen = (standing(rows) | stands_in(rows)) & rows["same"].is_valid().to_numpy()
    return rows.filter(pa.array(chosen)).drop_columns(["detail", "keeper", "group"])


def repeats(rows: pa.Table) -> pa.Table:
    """REPEATS of candidates, all of some sets: each standing row but the first of its set."""
    order = keeper_order(rows)
    order = order[np.lexsort(words(rows["same"])[order].T[::-1])]
    same, digest = words(rows["same"])[order], words(rows["sha256"])[order]
    first = np.ones(len(order), bool)
    first[1:] = (same[1:] != same[:-1]).any(axis=1)
    leader = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    number = rows["row"].to_numpy()[order]
    falls = ~first & standing(rows)[order]
    columns = {
        "row": number[falls],
        "keeper": number[leader][falls],
        "bytes": (digest == digest[leader]).all(axis=1)[falls],
    }
    return pa.table(columns, schema=REPEATS)


def drop_repeats(rows: pa.Table, found: pa.Table) -> pa.Table:
    """One table of JUDGED rows with its REPEATS dropped."""
    told = [
        (Reason.EXACT_DUPLICATE.value, "same bytes")
        if equal
        else (Reason.NEAR_DUPLICATE.value, "0 bits of 256 differ")
        for equal in found["bytes"].to_pylist()
    ]
    changes = {
        "reason": pa.array([reason for reason, _ in told], pa.string()),
        "detail": pa.array([detail for _, detail in told], pa.string()),
        "keeper": found["keeper"].combine_chunks(),
    }
    return replaced(rows, places(found, rows), changes) if found.num_rows else rows
