"""Which older snapshots still hold what the newest one took down.

No image is read, and no fact: a part's rows are the same in all plans of a chain, so the rows that
the newest plan has as taken down, or as duplicates of those, are looked up in the older ones.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import plan
from pipeline.decide.verdict import Reason
from pipeline.format.snapshot import Snapshot

READS = 16
"""Files of a plan that are read at once: a store takes longer to answer than to send them."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Holding:
    """A snapshot whose shards hold images that were taken down since."""

    snapshot: str
    """Its id."""
    images: int


def holding(newest: Snapshot, others: Sequence[Snapshot]) -> list[Holding]:
    """Those of `others` that must be retired, and pruned, before what `newest` took down is gone.

    Copies of an image that was taken down count with it: they fell to it. Raises HeadraceError if
    a plan cannot be read.
    """
    if not (others and newest.counts.get(Reason.TAKEN_DOWN)):
        return []
    rows = _taken_down(newest.url, plan.read_sources(newest.url))
    counted = [Holding(other.id, _kept(other.url, rows)) for other in others]
    return [found for found in counted if found.images]


def _taken_down(url: str, sources: pa.Table) -> dict[str, Rows]:
    """Part → its rows that were taken down, and those that duplicate one of any part."""
    first = sources["first_row"].to_numpy()

    def named(number: int) -> Rows:
        reasons = plan.read_part(url, number, ["reason"])["reason"]
        return _true(pc.equal(reasons, Reason.TAKEN_DOWN.value))

    own = _each(named, range(sources.num_rows))
    numbers = pa.array(
        np.concatenate([start + rows for start, rows in zip(first, own, strict=True)])
    )

    def fallen(number: int) -> Rows:
        keepers = plan.read_part(url, number, ["keeper"])["keeper"]
        return _true(pc.is_in(keepers, value_set=numbers))

    copies = _each(fallen, range(sources.num_rows))
    parts = zip(sources["part"].to_pylist(), own, copies, strict=True)
    both = {part: np.union1d(mine, theirs) for part, mine, theirs in parts}
    return {part: rows for part, rows in both.items() if rows.size}


def _kept(url: str, rows: dict[str, Rows]) -> int:
    """How many of these rows a snapshot kept."""
    parts = enumerate(plan.read_sources(url)["part"].to_pylist())
    affected = [(number, rows[part]) for number, part in parts if part in rows]

    def count(one: tuple[int, Rows]) -> int:
        keep = plan.read_part(url, one[0], ["keep"])["keep"].to_numpy()
        return int(keep[one[1]].sum())

    return sum(_each(count, affected))


def _true(mask: pa.ChunkedArray) -> Rows:
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy())


def _each(call: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    with ThreadPoolExecutor(READS) as pool:
        return list(pool.map(call, items))
