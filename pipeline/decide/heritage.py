"""What a snapshot takes over of its parent's shards: rows that stay, gaps of those that go."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.decide.verdict import Mask, Reason, drop, standing
from pipeline.format.errors import HeadraceError

Places = npt.NDArray[np.int64]
"""Shard and position in one number each, which sorts by shard, then position."""

HELD = pa.schema([("shard", pa.int32()), ("position", pa.int32()), ("shard_key", pa.string())])
"""Where a row lies in the parent; null if it was not kept, or is new."""


@dataclass(frozen=True)
class Parent:
    """The snapshot that another one goes on from. Its parts are the first of the pool."""

    parts: int = 0
    samples: tuple[int, ...] = ()
    """Of each of its shards."""
    load: Callable[[int], pa.Table] | None = None
    """Reads the verdicts of part n: HELD, row-aligned with the ledger."""


@dataclass(frozen=True)
class Heritage:
    """The parent's shards, and what leaves them. 8 bytes a row that leaves, in one process."""

    samples: tuple[int, ...]
    """Of each shard of the parent."""
    gone: Places
    """Every row that leaves, ascending."""

    @cached_property
    def heirs(self) -> list[int]:
        """The parent's shards that keep something, in their order: the child's first shards."""
        left = np.bincount(self.gone >> 32, minlength=len(self.samples))
        return np.flatnonzero(np.array(self.samples, np.int64) > left).tolist()

    def leaving(self, shard: int) -> list[int]:
        """Positions in a shard of the parent of what leaves it, ascending."""
        begin, end = np.searchsorted(self.gone, [shard << 32, (shard + 1) << 32])
        return (self.gone[begin:end] & 0xFFFFFFFF).tolist()

    def moved(self, places: Places) -> tuple[Places, Places]:
        """The child's shard and position of rows that stay: shards and positions close up."""
        shard = places >> 32
        before = np.searchsorted(self.gone, places) - np.searchsorted(self.gone, shard << 32)
        return np.searchsorted(self.heirs, shard), (places & 0xFFFFFFFF) - before


def held(parent: Parent, part: int, rows: pa.Table) -> pa.Table:
    """HELD of one part's JUDGED rows. Raises HeadraceError if the parent's plan has other rows."""
    if part >= parent.parts or parent.load is None:
        return HELD.empty_table().take(pa.nulls(rows.num_rows, pa.int64()))
    found = parent.load(part)
    if found.num_rows != rows.num_rows:
        raise HeadraceError(
            f"part {part} of the parent's plan has {found.num_rows} rows, and the ledger "
            f"{rows.num_rows}: the dataset is damaged; `headrace verify` says where"
        )
    return found.select(HELD.names).cast(HELD).combine_chunks()


def places_of(before: pa.Table) -> Places:
    """The places that HELD rows name; -1 where they name none."""
    shard = before["shard"].fill_null(-1).to_numpy().astype(np.int64)
    position = before["position"].fill_null(0).to_numpy()
    return np.where(shard < 0, -1, shard << 32 | position)


def staying(rows: pa.Table, before: pa.Table) -> Mask:
    """JUDGED rows that the parent has, and that still stand."""
    return standing(rows) & (places_of(before) >= 0)


def entering(rows: pa.Table, before: pa.Table) -> Mask:
    """JUDGED rows that stand, and that the parent does not have."""
    return standing(rows) & (places_of(before) < 0)


def drop_gone(rows: pa.Table, before: pa.Table, gone: bool) -> pa.Table:
    """JUDGED rows of one part; if its source is gone, without those that would enter."""
    if not gone:
        return rows
    detail = "the parent does not keep it, and its source is no longer listed"
    mask = entering(rows, before)
    return drop(rows, mask, Reason.SOURCE_GONE, lambda at: [detail] * len(at))


def leaving(rows: pa.Table, before: pa.Table) -> Places:
    """The places that JUDGED rows leave."""
    places = places_of(before)
    return places[~standing(rows) & (places >= 0)]


def heritage(parent: Parent, gone: Iterable[Places]) -> Heritage:
    """What is left of the parent when all parts have said what leaves."""
    return Heritage(parent.samples, np.sort(np.concatenate([np.zeros(0, np.int64), *gone])))
