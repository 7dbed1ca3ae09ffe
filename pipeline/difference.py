"""What differs between two snapshots: verdicts by part, shards by what they hold, settings.

Parts of the two pools are matched by their names, which change with the bytes behind them; the
rows of one part are the same images in both, in the same order.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.format.snapshot import Shard, Snapshot

KEPT = "kept"
ABSENT = "not_in_pool"
"""The verdict on images that the pool of one of the two has not."""

COLUMNS = ["reason", "shard"]
"""Of the plan: all that is compared."""


def moves(before: pa.Table | None, after: pa.Table | None) -> Counter[tuple[str, str]]:
    """(verdict before, verdict after) → images of one part; None for a pool that has it not."""
    rows = max(table.num_rows for table in (before, after) if table is not None)
    pairs = pa.table({"before": _verdicts(before, rows), "after": _verdicts(after, rows)})
    counted = pairs.group_by(["before", "after"]).aggregate([([], "count_all")]).to_pylist()
    return Counter({(row["before"], row["after"]): row["count_all"] for row in counted})


def _verdicts(table: pa.Table | None, rows: int) -> Any:
    return pa.repeat(ABSENT, rows) if table is None else pc.fill_null(table["reason"], KEPT)


def carried(before: pa.Table, after: pa.Table) -> set[tuple[int, int]]:
    """(shard before, shard after) of the images of one part that both snapshots keep."""
    both = pc.and_(pc.is_valid(before["shard"]), pc.is_valid(after["shard"]))
    pairs = np.stack([table["shard"].filter(both).to_numpy() for table in (before, after)])
    return set(map(tuple, np.unique(pairs, axis=1).T.tolist()))


@dataclass(frozen=True)
class Shards:
    """What became of the shards of one snapshot in another."""

    added: list[Shard]
    """Only the second has them, with images that the first does not keep."""
    shared: list[Shard]
    """Both have them."""
    rewritten: list[Shard]
    """Only the second has them, with images out of shards that only the first has."""
    removed: list[Shard]
    """Only the first has them, and nothing of them is in the second."""


def shards(before: Snapshot, after: Snapshot, found: Collection[tuple[int, int]]) -> Shards:
    """Sorts the shards of both by `found`, all that is `carried` from one to the other."""
    emptied, filled = {old for old, _ in found}, {new for _, new in found}
    olds, news = set(before.shards), set(after.shards)
    fresh = [(n, shard) for n, shard in enumerate(after.shards) if shard not in olds]
    return Shards(
        added=[shard for n, shard in fresh if n not in filled],
        shared=[shard for shard in after.shards if shard in olds],
        rewritten=[shard for n, shard in fresh if n in filled],
        removed=[s for n, s in enumerate(before.shards) if s not in news and n not in emptied],
    )


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted name → (old, new) of each setting that differs; None where one has it not."""
    left, right = dict(_flat(old)), dict(_flat(new))
    names = [*left, *(name for name in right if name not in left)]
    pairs = {name: (left.get(name), right.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
