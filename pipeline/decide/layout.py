"""Where kept rows go: shards of bounded size, in pool order within a generation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from pipeline.decide.engine import Engine, Handle
from pipeline.decide.homing import places, slices
from pipeline.decide.pool import Pool
from pipeline.decide.verdict import replaced, standing, words
from pipeline.format.tars import BLOCK
from pipeline.settings import Settings
from pipeline.write.alter import AlterConfig

Sizes = npt.NDArray[np.int64]
REPEATED = pa.schema([("row", pa.int64()), ("repeat", pa.int64())])
PLACED = pa.schema([("shard", pa.int32()), ("position", pa.int32()), ("shard_key", pa.string())])


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
    """The shards that a part's kept rows go to."""

    first: int
    """Shard of the first of them."""
    position: int
    """And its place there."""
    breaks: tuple[int, ...]
    """Which of them begin a further shard, counted from 0 among the part's kept rows."""

    @property
    def last(self) -> int:
        """Shard of the last of them."""
        return self.first + len(self.breaks)


def apply(
    engine: Engine, pool: Pool, tables: list[Handle], config: WriteConfig
) -> tuple[list[Handle], list[Span | None]]:
    """PLACED rows, one for each JUDGED row, and each part's span; None where nothing is kept."""
    repeated = engine.shuffle(engine.map(kept_uids, tables), "uid", repeats)
    own = slices(repeated, pool.bounds, REPEATED)
    sizes = engine.map(kept_sizes, tables)
    found = spans(lambda part: engine.get(sizes[part]), pool.generations, config)
    return engine.map(placed, tables, found, own), found


def kept_uids(rows: pa.Table) -> pa.Table:
    """What keys are made of."""
    kept = rows.filter(pa.array(standing(rows)))
    return kept.select(["row", "generation", "uid"])


def repeats(rows: pa.Table) -> pa.Table:
    """REPEATED: the second and later rows of one uid, numbered from 1; older generations first."""
    high, low = words(rows["uid"]).T
    order = np.lexsort((rows["row"].to_numpy(), rows["generation"].to_numpy(), low, high))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(high[order]) != 0) | (np.diff(low[order]) != 0)
    number = np.arange(len(order))
    number -= np.maximum.accumulate(np.where(new, number, 0))
    again = number > 0
    columns = [rows["row"].to_numpy()[order][again], number[again]]
    return pa.table(columns, schema=REPEATED)


def kept_sizes(rows: pa.Table) -> npt.NDArray[np.int64]:
    """Bytes that each kept row takes in a shard, about: its image and two headers."""
    return rows["nbytes"].to_numpy()[standing(rows)] + 2 * BLOCK


def spans(
    sizes: Callable[[int], Sizes], generations: Sequence[int], config: WriteConfig
) -> list[Span | None]:
    """Fills shards one after another, older generations first, and each with shards of its own.

    `sizes` gives the sizes of part n's kept rows; it is called once for each part.
    """
    found: list[Span | None] = [None] * len(generations)
    fill, last = Fill(), 0
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


def placed(rows: pa.Table, span: Span | None, repeated: pa.Table) -> pa.Table:
    """PLACED: shard, position in it and key for every kept row, null for the others.

    Keys are the uid; the second and later rows of one uid get `<uid>-1`, `<uid>-2`, …
    """
    at = np.flatnonzero(standing(rows))
    table = PLACED.empty_table().take(pa.nulls(rows.num_rows, pa.int64()))
    if span is None:
        return table
    count = np.arange(len(at))
    begins = np.array([-span.position, *span.breaks])
    number = np.searchsorted(span.breaks, count, side="right")
    keys = [value.hex() for value in rows["uid"].take(pa.array(at)).to_pylist()]
    again = dict(zip(places(repeated, rows).tolist(), repeated["repeat"].to_pylist(), strict=True))
    for index, row in enumerate(at.tolist()):
        if row in again:
            keys[index] += f"-{again[row]}"
    columns = {
        "shard": pa.array(span.first + number, pa.int32()),
        "position": pa.array(count - begins[number], pa.int32()),
        "shard_key": pa.array(keys, pa.string()),
    }
    return replaced(table, at, columns)
