"""Two decisions on one pool, side by side: what moves, and which images enter and leave."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decide.verdict import Reason
from pipeline.format.errors import HeadraceError
from pipeline.report import page
from pipeline.report.curation import Pool
from pipeline.report.reasons import KEPT, words
from pipeline.report.sheets import lowest_uids
from pipeline.report.tiles import Tile, tiles

SHOWN = 16
"""Images of one move on the sheet."""


@dataclass(frozen=True)
class Move:
    """Rows with one verdict before and another after, `total` in all."""

    before: str
    after: str
    total: int
    rows: tuple[int, ...]
    """Numbers in the pool of some that enter or leave."""


@dataclass(frozen=True)
class Comparison:
    """What became of a pool under two configs."""

    before: Counter[str]
    """Verdict → rows; `kept` for those that stay."""
    after: Counter[str]
    moves: tuple[Move, ...]
    """Largest first; a row whose verdict is the same is in none."""

    @property
    def reasons(self) -> list[str]:
        """Every verdict that either has, in the order of the rules."""
        order = [KEPT, *(reason.value for reason in Reason)]
        return [name for name in order if self.before[name] or self.after[name]]

    @property
    def entering(self) -> list[Move]:
        """Moves of rows that only the second keeps."""
        return [move for move in self.moves if move.after == KEPT]

    @property
    def leaving(self) -> list[Move]:
        """Moves of rows that only the first keeps."""
        return [move for move in self.moves if move.before == KEPT]


def compare(one: Pool, other: Pool) -> Comparison:
    """Compares part by part; no more than a part of either plan is held at a time.

    Raises HeadraceError if the pools are not the same.
    """
    if one.sources.select(["part", "rows"]) != other.sources.select(["part", "rows"]):
        raise HeadraceError(
            "the two have different pools: compare configs whose `sources` are the same"
        )
    counts: Counter[tuple[str, str]] = Counter()
    changes = []
    for number, first in enumerate(one.sources["first_row"].to_pylist()):
        rows = _side_by_side(one.verdicts(number), other.verdicts(number), first)
        counted = rows.group_by(["before", "after"]).aggregate([([], "count_all")]).to_pylist()
        counts.update({(row["before"], row["after"]): row["count_all"] for row in counted})
        changes.append(_some(rows))
    return _comparison(counts, changes)


def _side_by_side(before: pa.Table, after: pa.Table, first: int) -> pa.Table:
    columns = {"row": pa.array(range(first, first + before.num_rows), pa.int64())}
    columns |= {"uid": before["uid"]}
    columns |= {"before": pc.fill_null(before["reason"], KEPT)}
    return pa.table(columns | {"after": pc.fill_null(after["reason"], KEPT)})


def _some(rows: pa.Table) -> pa.Table:
    """Of each move of a part that enters or leaves, as many rows as could be shown."""
    kept = pc.xor(pc.equal(rows["before"], KEPT), pc.equal(rows["after"], KEPT))
    rows = rows.filter(kept)
    pairs = set(zip(rows["before"].to_pylist(), rows["after"].to_pylist(), strict=True))
    chosen = [row for pair in sorted(pairs) for row in _pick(rows, *pair)]
    return rows.filter(pc.is_in(rows["row"], pa.array(chosen, pa.int64())))


def _pick(rows: pa.Table, before: str, after: str) -> tuple[int, ...]:
    same = pc.and_(pc.equal(rows["before"], before), pc.equal(rows["after"], after))
    rows = rows.filter(same)
    return lowest_uids(rows["row"].to_numpy(), rows["uid"], SHOWN)


def _comparison(counts: Counter[tuple[str, str]], changes: list[pa.Table]) -> Comparison:
    before, after = Counter[str](), Counter[str]()
    for (was, now), rows in counts.items():
        before[was] += rows
        after[now] += rows
    some = pa.concat_tables(changes) if changes else None
    moved = sorted((-rows, was, now) for (was, now), rows in counts.items() if was != now)
    moves = (
        Move(was, now, -rows, _pick(some, was, now) if some and KEPT in (was, now) else ())
        for rows, was, now in moved
    )
    return Comparison(before, after, tuple(moves))


def sheet(found: Comparison, one: Pool, other: Pool, names: tuple[str, str]) -> bytes:
    """A page of the images that enter and leave. Those that enter show why they were out before,
    those that leave why they are out after; `names` are what the two are called.
    """
    entering = tiles(one, _numbers(found.entering))
    leaving = tiles(other, _numbers(found.leaving))
    shown: list[tuple[str, list[Move], dict[int, Tile]]] = [
        ("Entering", found.entering, entering),
        ("Leaving", found.leaving, leaving),
    ]
    facts = {"found": found, "names": names, "shown": shown, "words": words}
    return page.html("comparison.html", facts)


def _numbers(moves: Iterable[Move]) -> list[int]:
    return [row for move in moves for row in move.rows]
