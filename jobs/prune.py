"""`headrace prune`: deletes the shards that no kept snapshot has.

A snapshot is retired first: who trains on it is told its successor, and its manifest and plan stay,
which say what it was. LATEST is always kept, and so is what a run pins, unless it is named.

A refresh under way has files that no manifest names yet, and so has one that was killed. A snapshot
without a manifest counts as left behind once its newest file is older than `unfinished_after`
hours, for a refresh that is at work writes some file every few minutes. Facts (the ledger) are
never deleted: they keep what was taken down from coming back.

A snapshot exists a moment before LATEST names it, and longer if its refresh was killed between the
two. So a child of the newest is kept, and what was left behind is looked at again before it goes.

Killed at any moment and run again, it comes to the same end: what is retired stays retired, and
what no kept snapshot has is found again. An index goes before its tar: an index that is there says
that the tar is whole.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from jobs.console import console, progress
from jobs.holding import Holding, holding
from jobs.unreferenced import INDEX, File, unreferenced
from pipeline.format import address, chain, pins, retired, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.pins import Pin
from pipeline.format.snapshot import Snapshot, latest

REMOVALS = 16
"""Files that are deleted at once."""

GRACE_SECONDS, LOOK_SECONDS = 300.0, 1.0
"""How long runs on what was just retired may take to hear of it, which takes a minute, and to save,
and how often it is looked whether they have."""


@dataclass(frozen=True)
class Pruning:
    """What a prune would do. Snapshots are ids."""

    dataset: str
    kept: tuple[str, ...]
    """The newest, which LATEST names, first."""
    retiring: tuple[str, ...]
    retired: tuple[str, ...]
    """Before."""
    pins: tuple[Pin, ...]
    """Of those that are retiring, and of the kept."""
    asked_for: frozenset[str]
    """To be retired although a run pins them."""
    files: tuple[File, ...]
    """To be deleted."""
    spared: tuple[File, ...]
    """They may belong to a refresh that is under way."""
    left_behind: float
    """Until when they do, by the newest of them, in seconds since 1970."""
    holding: tuple[Holding, ...]
    """Kept snapshots with images that the newest one took down."""


def look(
    dataset: str,
    keep: int | None = None,
    retire: Collection[str] = (),
    unfinished_after: float = 24,
) -> Pruning:
    """What there is to delete; nothing is done.

    Retires all but the newest `keep` of the chain of LATEST that are not retired yet, and those
    that `retire` names. Raises HeadraceError if one of these is unknown or LATEST, or if a
    snapshot is not what its folder says.
    """
    dataset, left_behind = address.absolute(dataset), time.time() - 3600 * unfinished_after
    line, beside = _published(dataset)
    found = [*line, *beside]
    gone = {one.id for one in found if retired.is_retired(one.url)}
    named = _named(found, retire) - gone
    standing = [one.id for one in (line if keep else found) if one.id not in gone | named]
    coming = {one.id for one in beside if one.parent == line[0].id}
    kept = {*standing[:keep], *(coming - gone - named)}
    files, spared = unreferenced(dataset, found, kept, left_behind)
    return Pruning(
        dataset=dataset,
        kept=tuple(one.id for one in found if one.id in kept),
        retiring=tuple(one.id for one in found if one.id not in gone | kept),
        retired=tuple(one.id for one in found if one.id in gone),
        pins=tuple(one for one in pins.pins(dataset) if one.snapshot not in gone),
        asked_for=frozenset(named),
        files=tuple(files),
        spared=tuple(spared),
        left_behind=left_behind,
        holding=tuple(holding(line[0], [one for one in found[1:] if one.id in kept])),
    )


def _published(dataset: str) -> tuple[list[Snapshot], list[Snapshot]]:
    """The chain of LATEST, newest first, and the snapshots beside it."""
    newest = latest(dataset)
    if newest is None:
        raise HeadraceError(
            f"{dataset}: no snapshot here (no LATEST file); name a dataset's folder"
        )
    line = chain.chain(chain.read(dataset, newest))
    retired.check(line[0].url)
    known, names = {one.id for one in line}, chain.ids(dataset)
    beside = [chain.read(dataset, name) for name in names if name not in known]
    if sorted(one.id for one in (*line, *beside)) != names:  # then one's files pass for nobody's
        raise HeadraceError(
            f"{address.join(dataset, 'snapshots')}: a manifest's id is not its folder's name; "
            f"`headrace verify {dataset}` names it: restore it, or move the copy out"
        )
    return line, beside


def _named(found: Sequence[Snapshot], names: Collection[str]) -> set[str]:
    ids = {name.rstrip("/").rpartition("/")[2] for name in names}
    dataset, newest = found[0].dataset, found[0].id
    if newest in ids:
        raise HeadraceError(
            f"--retire {newest}: is the newest snapshot of {dataset}, and has no successor; "
            "refresh the dataset first"
        )
    for name in sorted(ids - {one.id for one in found}):
        raise HeadraceError(
            f"--retire {name}: no snapshot of {dataset}; `headrace snapshots` lists"
        )
    return ids


def delete(pruning: Pruning) -> None:
    """Retires, lets the runs that this ends save, then deletes.

    Raises HeadraceError if a run pins what was not asked for by name; nothing is done then.
    """
    _refuse_pinned(pruning)
    for name in pruning.retiring:
        url = address.join(pruning.dataset, "snapshots", name)
        retired.retire(url, successor=pruning.kept[0])
    _wait_for_runs(pruning)
    files = _still_unreferenced(pruning)
    indexes = [file for file in files if file.path.endswith(INDEX)]
    others = [file for file in files if not file.path.endswith(INDEX)]
    with (
        progress("delete", len(files), "files") as advance,
        ThreadPoolExecutor(REMOVALS) as pool,
    ):
        for group in (indexes, others):
            urls = [address.join(pruning.dataset, file.path) for file in group]
            for _ in pool.map(writing.remove, urls):
                advance(1)


def _still_unreferenced(pruning: Pruning) -> list[File]:
    """The files to delete but for those that a refresh went on with since the look."""
    line, beside = _published(pruning.dataset)
    found = [*line, *beside]
    kept = {one.id for one in found} - {*pruning.retiring, *pruning.retired}
    files, _ = unreferenced(pruning.dataset, found, kept, pruning.left_behind)
    return sorted(set(pruning.files) & set(files), key=lambda file: file.path)


def _refuse_pinned(pruning: Pruning) -> None:
    for pin in pruning.pins:
        if pin.snapshot in set(pruning.retiring) - pruning.asked_for:
            raise HeadraceError(
                f"{pruning.dataset}: snapshot {pin.snapshot} is pinned by the run {pin.run}; if "
                f"that is over, `--release {pin.run}`; to end it, `--retire {pin.snapshot}`"
            )


def _wait_for_runs(pruning: Pruning) -> None:
    """Until each has saved and taken its pin back; a dead one never does."""

    def pinned() -> bool:
        return any(pin.snapshot in pruning.retiring for pin in pins.pins(pruning.dataset))

    end = time.monotonic() + GRACE_SECONDS
    if pinned():
        console.print(f"waits up to {GRACE_SECONDS:.0f} s for the runs on it to save")
    while pinned() and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)


def lines(pruning: Pruning) -> list[str]:
    """For a person: what becomes of each snapshot and folder."""
    runs = defaultdict(list)
    for pin in pruning.pins:
        runs[pin.snapshot].append(f"  pinned by {pin.run}")
    images = {one.snapshot: one.images for one in pruning.holding}
    told = []
    for what in ("kept", "retiring", "retired"):
        for name in getattr(pruning, what):
            told.append(f"{what:9} {name}" + ("  LATEST" if name == pruning.kept[0] else ""))
            told += runs[name]
            if name in images:
                told.append(f"  holds {images[name]:,} images taken down since: --retire {name}")
    told += _folders("delete", pruning.files) + _folders("unfinished", pruning.spared)
    nbytes = sum(file.nbytes for file in pruning.files)
    return [*told, f"{len(pruning.files):,} files to delete, {nbytes:,} bytes"]


def _folders(what: str, files: Iterable[File]) -> list[str]:
    sizes = defaultdict(list)
    for file in files:
        sizes["/".join(file.path.split("/")[:2])].append(file.nbytes)
    return [f"{what:9} {name}: {len(n):,} files, {sum(n):,} bytes" for name, n in sizes.items()]
