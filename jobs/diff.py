"""`headrace diff`: what one snapshot has that another has not, and which settings made it so.

Of both plans two narrow columns are read, a part at a time.
"""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from pipeline import difference, plan
from pipeline.difference import COLUMNS, KEPT, Shards
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, read_snapshot

READS_AT_ONCE = 16
"""Parts of the plans that are asked for side by side."""

CHARACTERS = 100
"""Of a setting that a line shows; JSON has all of them."""

Part = tuple[str, int | None, int | None]
"""Its name, and its numbers in the two pools; None in one that has it not."""


@dataclass(frozen=True)
class Difference:
    """From one snapshot to another: images by verdict, shards, settings."""

    before: str
    after: str
    entering: Counter[str]
    """Images that only the second keeps, by their verdict in the first; `not_in_pool` if new."""
    leaving: Counter[str]
    """Images that only the first keeps, by their verdict in the second."""
    moved: Counter[tuple[str, str]]
    """Images that neither keeps, by both verdicts, if these differ."""
    shards: Shards
    settings: dict[str, dict[str, tuple[Any, Any]]]
    """`config`, `ledger`, `libraries` → what differs there."""


def run(one: str, other: str) -> Difference:
    """Compares two snapshots, each `<dataset>/snapshots/<id>` or a dataset for its newest.

    Raises HeadraceError if their pools have no part in common.
    """
    before, after = read_snapshot(one), read_snapshot(other)
    parts = _parts(before, after)
    moves, carried = Counter[tuple[str, str]](), set[tuple[int, int]]()
    with ThreadPoolExecutor(READS_AT_ONCE) as threads:
        for moved, shards in threads.map(partial(_compared, before, after), parts):
            moves.update(moved)
            carried |= shards
    return _difference(before, after, moves, difference.shards(before, after, carried))


def _parts(before: Snapshot, after: Snapshot) -> list[Part]:
    """Every part of either pool, by its name."""
    olds, news = _numbers(before), _numbers(after)
    if olds and news and not olds.keys() & news.keys():
        raise HeadraceError(
            f"{before.url} and {after.url}: their pools have no source in common that is the same; "
            "name two snapshots of one dataset"
        )
    return [(name, olds.get(name), news.get(name)) for name in olds | news]


def _numbers(snapshot: Snapshot) -> dict[str, int]:
    names = plan.read_sources(snapshot.url)["part"].to_pylist()
    return {name: number for number, name in enumerate(names)}


def _compared(
    before: Snapshot, after: Snapshot, part: Part
) -> tuple[Counter[tuple[str, str]], set[tuple[int, int]]]:
    name, *numbers = part
    old, new = (
        None if number is None else plan.read_part(snapshot.url, number, COLUMNS)
        for snapshot, number in zip((before, after), numbers, strict=True)
    )
    if old is None or new is None:
        return difference.moves(old, new), set()
    if old.num_rows != new.num_rows:
        raise HeadraceError(
            f"{before.url} and {after.url}: part {name} has {old.num_rows:,} images in one and "
            f"{new.num_rows:,} in the other; they were measured by versions that differ"
        )
    return difference.moves(old, new), difference.carried(old, new)


def _difference(
    before: Snapshot, after: Snapshot, moves: Counter[tuple[str, str]], shards: Shards
) -> Difference:
    entering, leaving, moved = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for (old, new), images in moves.items():
        if old != KEPT == new:
            entering[old] += images
        elif old == KEPT != new:
            leaving[new] += images
        elif old != new:
            moved[old, new] += images
    sections = ("config", "ledger", "libraries")
    settings = {
        name: difference.changed(getattr(before, name), getattr(after, name)) for name in sections
    }
    return Difference(before.url, after.url, entering, leaving, moved, shards, settings)


def lines(found: Difference) -> list[str]:
    """What differs, as a person reads it."""
    moved = Counter({f"{old} → {new}": images for (old, new), images in found.moved.items()})
    told = [f"A  {found.before}", f"B  {found.after}", ""]
    told += _ranked("images in", found.entering)
    told += _ranked("images out", found.leaving)
    told += _ranked("out of both, for another reason", moved)
    for kind, shards in vars(found.shards).items():
        nbytes = sum(shard.nbytes for shard in shards)
        told.append(f"{len(shards):>12,}  shards {kind} ({nbytes:,} bytes)")
    for section, changes in found.settings.items():
        told += [f"{section} {name}: {_change(*pair)}" for name, pair in changes.items()]
    return told


def _ranked(what: str, counts: Counter[str]) -> list[str]:
    """Their sum, and below it what it is made of, the largest first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [
        f"{counts.total():>12,}  {what}",
        *(f"{'':12}  {images:>12,}  {name}" for name, images in ranked),
    ]


def _change(old: Any, new: Any) -> str:
    """Old → new; of two lists only the entries that one of them has."""
    if isinstance(old, list) and isinstance(new, list):
        gone = [f"without {_shown(one)}" for one in old if one not in new]
        come = [f"with {_shown(one)}" for one in new if one not in old]
        if gone or come:
            return ", ".join(gone + come)
    return " → ".join(_shown(value) for value in (old, new))


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= CHARACTERS else text[: CHARACTERS - 1] + "…"


def facts(found: Difference) -> dict[str, Any]:
    """The same for a program: plain dicts, lists and numbers."""
    moved = [
        {"before": old, "after": new, "images": images}
        for (old, new), images in sorted(found.moved.items())
    ]
    settings = {
        section: {name: {"before": old, "after": new} for name, (old, new) in changes.items()}
        for section, changes in found.settings.items()
    }
    return {
        "before": found.before,
        "after": found.after,
        "entering": found.entering,
        "leaving": found.leaving,
        "moved": moved,
        "shards": asdict(found.shards),
        "settings": settings,
    }
