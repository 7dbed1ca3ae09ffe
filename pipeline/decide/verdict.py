"""Verdicts in the making: which rows still stand, and why the others fell."""

from collections.abc import Callable
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]


class Reason(StrEnum):
    """Why a pool image was dropped: the closed list, in the order in which rules are tried."""

    UNREADABLE = "unreadable"
    TAKEN_DOWN = "taken_down"
    UNSAFE = "unsafe"
    CONTAMINATED = "contaminated"
    SOURCE_REPLACED = "source_replaced"
    TOO_SMALL = "too_small"
    EXTREME_ASPECT = "extreme_aspect"
    OUT_OF_RANGE = "out_of_range"
    CAPTION_TOO_SHORT = "caption_too_short"
    WRONG_LANGUAGE = "wrong_language"
    NOT_IN_VOCABULARY = "not_in_vocabulary"
    NOT_SELECTED = "not_selected"
    NO_SCORE = "no_score"
    LOW_SCORE = "low_score"
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    SEMANTIC_DUPLICATE = "semantic_duplicate"
    OVER_QUOTA = "over_quota"
    SOURCE_GONE = "source_gone"


STAND_IN = [Reason.TAKEN_DOWN.value, Reason.UNSAFE.value, Reason.CONTAMINATED.value]
"""Whoever looks like a row that was dropped for one of these falls with it, DESIGN.md "Plan"."""

JUDGED = pa.schema(
    [
        ("row", pa.int64()),  # number in the pool
        ("generation", pa.int32()),
        ("reason", pa.string()),  # null for rows that still stand
        ("detail", pa.string()),
        ("keeper", pa.int64()),  # duplicates: number of the row that stands for it
        ("score", pa.float32()),  # by which keepers are chosen
        ("nbytes", pa.int64()),
        ("uid", pa.binary(16)),
        ("sha256", pa.binary(32)),  # null where there are no bytes
        ("same", pa.binary(40)),  # equal for images that count as equal: look, else sha256
        ("group", pa.string()),  # that a quota counts; null where it counts none
    ]
)
"""What the steps that compare rows with each other need of them; cuts have scores of their own."""


class Verdicts:
    """One verdict per row: the first rule that drops a row gives its reason, for good."""

    def __init__(self, rows: int) -> None:
        self.reason: list[str | None] = [None] * rows
        self.detail: list[str | None] = [None] * rows
        self.kept: Mask = np.ones(rows, bool)

    def drop(self, mask: Mask, reason: Reason, detail: Callable[[int], str]) -> None:
        """Drops the rows of the mask that still stand; `detail` is asked for each of them."""
        for row in np.flatnonzero(mask & self.kept).tolist():
            self.drop_row(row, reason, detail(row))

    def drop_row(self, row: int, reason: Reason, detail: str) -> None:
        """Drops one row that still stands."""
        self.reason[row], self.detail[row], self.kept[row] = reason.value, detail, False


def drop(
    rows: pa.Table,
    mask: Mask,
    reason: Reason,
    detail: Callable[[npt.NDArray[np.int64]], list[str]],
    keeper: npt.NDArray[np.int64] | None = None,
) -> pa.Table:
    """JUDGED rows with those of the mask that still stand dropped.

    `detail` is asked for the indices of these rows; `keeper`, one number a row, is taken for them.
    """
    at = np.flatnonzero(mask & standing(rows))
    if not len(at):
        return rows
    changes = {
        "reason": pa.array([reason.value] * len(at), pa.string()),
        "detail": pa.array(detail(at), pa.string()),
    }
    if keeper is not None:
        changes["keeper"] = pa.array(keeper[at], pa.int64())
    return replaced(rows, at, changes)


def replaced(rows: pa.Table, at: npt.NDArray[np.int64], changes: dict[str, pa.Array]) -> pa.Table:
    """A table with the values of some columns exchanged at these indices, which ascend."""
    mask = np.zeros(rows.num_rows, bool)
    mask[at] = True
    for name, values in changes.items():
        column = pc.replace_with_mask(rows[name].combine_chunks(), pa.array(mask), values)
        rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), column)
    return rows


def keeper_order(rows: pa.Table) -> npt.NDArray[np.int64]:
    """Indices of JUDGED rows, best keeper first: generation, then score, size, uid, pool order.

    Rows that stand for others though they were dropped come before the rest of their generation.
    A missing score comes after every score. The last tie ends at the row's number, so the order
    does not depend on that of the input.
    """
    score = rows["score"].fill_null(float("nan")).to_numpy().astype(np.float64)
    descending = np.where(np.isnan(score), np.inf, -score)
    high, low = words(rows["uid"]).T
    stands = stands_in(rows)
    generation, nbytes = rows["generation"].to_numpy(), rows["nbytes"].to_numpy()
    return np.lexsort((rows["row"].to_numpy(), low, high, -nbytes, descending, ~stands, generation))


def stands_in(rows: pa.Table) -> Mask:
    """JUDGED rows that were dropped and whose duplicates fall with them."""
    found = pc.is_in(rows["reason"], pa.array(STAND_IN))
    return found.to_numpy(zero_copy_only=False)


def standing(rows: pa.Table) -> Mask:
    """JUDGED rows that no rule has dropped so far."""
    return pc.is_null(rows["reason"]).to_numpy(zero_copy_only=False)


def words(column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """A column of equally long binary values as (n, bytes / 8) numbers in the bytes' own order."""
    values = column.combine_chunks()
    if not len(values):
        return np.zeros((0, 2), np.uint64)
    joined = np.frombuffer(b"".join(values.to_pylist()), ">u8")
    return joined.reshape(len(values), -1).astype(np.uint64)
