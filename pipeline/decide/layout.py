"""Where kept rows go: the parent's stay, others fill shards of bounded size in pool order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from pipeline.decide.engine import Engine, Handle
from pipeline.decide.heritage import (
    HELD,
    Heritage,
    Parent,
    entering,
    heritage,
    leaving,
    places_of,
    staying,
)
from pipeline.decide.homing import places, slices
from pipeline.decide.pool import Pool
from pipeline.decide.verdict import replaced, standing, words
from pipeline.format.tars import BLOCK
from pipeline.settings import Settings
from pipeline.write.alter import AlterConfig

Sizes = npt.NDArray[np.int64]
REPEATED = pa.schema([("row", pa.int64()), ("repeat", pa.int64())])
PLACED = HELD
"""Where a row lies in the child."""


class WriteConfig(Settings):
    """What kept images become."""

    shard_samples: int = Field(default=10_000, gt=0)
    """Samples in one shard at most."""

    shard_bytes: int = Field(default=1_000_000_000, gt=0)
    """Bytes of images in one shard at most; a single larger image has a shard of its own."""

    alter: AlterConfig = AlterConfig()
    """What is done to images; by default they pass through byte for byte."""


@dataclass(frozen=True)
class Fill:
    """How far the shard that is being filled has come."""

    shard: int = 0
    position: int = 0
    nbytes: int = 0


@dataclass(frozen=True)
class Span:
    """The new shards that a part's rows go to."""

    first: int
    """Shard of the first of them."""
    position: int
    """And its place there."""
    breaks: tuple[int, ...]
    """Which of them begin a further shard, counted from 0 among the part's rows that enter."""

    @property
    def last(self) -> int:
        """Shard of the last of them."""
        return self.first + len(self.breaks)


def apply(
    engine: Engine,
    pool: Pool,
    tables: list[Handle],
    before: list[Handle],
    config: WriteConfig,
    parent: Parent,
) -> tuple[list[Handle], list[Span | None], Heritage]:
    """PLACED rows, one for each JUDGED row; each part's span, None where nothing enters; and what
    is taken over of the parent. `before` are the HELD rows of each table."""
    taken = heritage(parent, map(engine.get, engine.map(leaving, tables, before)))
    repeated = engine.shuffle(engine.map(kept_uids, tables, before), "uid", repeats)
    own = slices(repeated, pool.bounds, REPEATED)
    sizes = engine.map(entering_sizes, tables, before)
    first = len(taken.heirs)
    found = spans(lambda part: engine.get(sizes[part]), pool.generations, config, first)
    shared = repeat(engine.share(taken))
    return engine.map(placed, tables, before, shared, found, own), found, taken


def kept_uids(rows: pa.Table, before: pa.Table) -> pa.Table:
    """What keys are made of: `number` is that of a row that has a key, null where it enters."""
    kept = pa.array(standing(rows))
    table = rows.filter(kept).select(["row", "generation", "uid"])
    return table.append_column("number", _numbers(before["shard_key"].filter(kept)))


def _numbers(keys: pa.ChunkedArray) -> pa.Array:
    """What is behind the uid in `<uid>-<n>`, 0 where nothing is."""
    split = (key and (key.partition("-")[2] or "0") for key in keys.to_pylist())
    return pa.array([number and int(number) for number in split], pa.int64())


def repeats(rows: pa.Table) -> pa.Table:
    """REPEATED: the rows that enter with a uid that was there, older generations first.

    Numbers go on from the highest that a row which stays has, and begin with 0, which is left out.
    """
    high, low = words(rows["uid"]).T
    given = rows["number"].fill_null(-1).to_numpy()
    row, generation = rows["row"].to_numpy(), rows["generation"].to_numpy()
    order = np.lexsort((row, generation, given < 0, low, high))
    row, given = row[order], given[order]
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(high[order]) != 0) | (np.diff(low[order]) != 0)
    group = np.cumsum(new) - 1
    highest = np.full(new.sum(), -1)
    np.maximum.at(highest, group, given)
    enters = given < 0
    upto = np.cumsum(enters)
    nth = upto - (upto - enters)[new][group]
    number = highest[group] + nth
    again = enters & (number > 0)
    return pa.table([row[again], number[again]], schema=REPEATED)


def entering_sizes(rows: pa.Table, before: pa.Table) -> Sizes:
    """Bytes that each row which enters takes in a shard, about: its image and two headers."""
    return rows["nbytes"].to_numpy()[entering(rows, before)] + 2 * BLOCK


def spans(
    sizes: Callable[[int], Sizes], generations: Sequence[int], config: WriteConfig, first: int = 0
) -> list[Span | None]:
    """Fills shards from number `first`, older generations first, and each with shards of its own.

    `sizes` gives the sizes of what enters of part n; it is called once for each part.
    """
    found: list[Span | None] = [None] * len(generations)
    fill, last = Fill(first), 0
    for part in sorted(range(len(generations)), key=generations.__getitem__):
        if generations[part] != last and fill.position:
            fill = Fill(fill.shard + 1)
        last = generations[part]
        found[part], fill = _filled(sizes(part), fill, config)
    return found


def _filled(sizes: Sizes, fill: Fill, config: WriteConfig) -> tuple[Span | None, Fill]:
    upto = np.concatenate([[0], np.cumsum(sizes)])
    at, count, breaks, begin = 0, len(sizes), list[int](), fill
    while at < count:
        by_bytes = int(np.searchsorted(upto, upto[at] + config.shard_bytes - fill.nbytes, "right"))
        end = min(by_bytes - 1, at + config.shard_samples - fill.position, count)
        if end <= at and not fill.position:
            end = at + 1  # alone it is larger than a shard may be
        if end > at:
            nbytes = fill.nbytes + int(upto[end] - upto[at])
            fill, at = Fill(fill.shard, fill.position + end - at, nbytes), end
        if at < count:
            fill = Fill(fill.shard + 1)
            if at:
                breaks.append(at)
            else:
                begin = fill
    return (Span(begin.shard, begin.position, tuple(breaks)) if count else None), fill


def placed(
    rows: pa.Table, before: pa.Table, taken: Heritage, span: Span | None, repeated: pa.Table
) -> pa.Table:
    """PLACED: shard, position in it and key for every kept row, null for the others.

    A row that stays has the parent's key. Keys are the uid; the second and later rows of one uid
    get `<uid>-1`, `<uid>-2`, …
    """
    table = PLACED.empty_table().take(pa.nulls(rows.num_rows, pa.int64()))
    stays = np.flatnonzero(staying(rows, before))
    shard, position = taken.moved(places_of(before)[stays])
    table = _filled_in(table, stays, shard, position, before["shard_key"].take(pa.array(stays)))
    if span is None:
        return table
    enters = np.flatnonzero(entering(rows, before))
    count = np.arange(len(enters))
    begins = np.array([-span.position, *span.breaks])
    number = np.searchsorted(span.breaks, count, side="right")
    keys = _keys(rows, enters, repeated)
    return _filled_in(table, enters, span.first + number, count - begins[number], keys)


def _filled_in(table: pa.Table, at: Sizes, shard: Sizes, position: Sizes, keys: Any) -> pa.Table:
    columns = {
        "shard": pa.array(shard, pa.int32()),
        "position": pa.array(position, pa.int32()),
        "shard_key": keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys,
    }
    return replaced(table, at, columns)


def _keys(rows: pa.Table, at: Sizes, repeated: pa.Table) -> pa.Array:
    keys = [value.hex() for value in rows["uid"].take(pa.array(at)).to_pylist()]
    again = dict(zip(places(repeated, rows).tolist(), repeated["repeat"].to_pylist(), strict=True))
    for index, row in enumerate(at.tolist()):
        if row in again:
            keys[index] += f"-{again[row]}"
    return pa.array(keys, pa.string())
