"""`headrace verify`: every byte that a dataset's snapshots promise, read again and checked on Ray.

Each shard once, whichever snapshots share it; then the plan of each snapshot, part by part and
shard by shard. What is damaged is told, and the rest is checked all the same; but the places and
keys of a plan only if all its parts are sound in themselves, and only against indexes that are.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from jobs import capacity, cluster
from jobs.console import progress
from jobs.engine import OnRay
from pipeline import plan
from pipeline.format import address, chain, retired
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Shard, Snapshot
from pipeline.verify import manifest, shard, verdicts
from pipeline.verify.damage import listed, read_sound
from pipeline.verify.verdicts import Part

Tell = Callable[[str], None]


@dataclass
class Checked:
    """What was looked at, and what is wrong with it."""

    tell: Tell
    snapshots: int = 0
    retired: int = 0
    """Those of the snapshots whose shards may be gone: of them the manifest alone is checked."""
    shards: dict[Shard, bool] = field(default_factory=dict)
    """Shard → whether it and its index are sound, once they were looked at."""
    damages: list[str] = field(default_factory=list)
    """A line each, which names a file and says what is wrong."""

    def found(self, damages: Iterable[str]) -> None:
        """Adds damages, and tells of them."""
        for damage in damages:
            self.damages.append(damage)
            self.tell(damage)


def run(dataset: str, workers: int | None = None, tell: Tell = lambda damage: None) -> Checked:
    """Checks all published snapshots of a dataset; `tell` hears of each damage as it is found.

    Raises HeadraceError if there is none.
    """
    dataset = address.absolute(dataset)
    ids = chain.ids(dataset)
    if not ids:
        raise HeadraceError(f"{dataset}: no snapshot here to verify; name a dataset")
    checked = Checked(tell, snapshots=len(ids))
    checked.found(listed(manifest.check_latest(dataset, ids)))
    live = [name for name in ids if _manifest(dataset, name, ids, checked)]
    with cluster.session(workers):
        _shards(dataset, checked)
        for name in live:
            _plan(chain.read(dataset, name), checked)
    return checked


def _manifest(dataset: str, name: str, ids: Sequence[str], checked: Checked) -> bool:
    """Whether there is more to check of a snapshot than its manifest; notes its shards if so."""
    try:
        snapshot = chain.read(dataset, name)
    except HeadraceError as error:
        checked.found([str(error)])
        return False
    checked.found(manifest.check(snapshot, name, ids))
    url = address.join(dataset, "snapshots", name)
    if retired.is_retired(url):
        checked.retired += 1
        checked.found(listed(manifest.check_retired(url, ids)))
        return False
    checked.shards |= dict.fromkeys(snapshot.shards, False)
    return snapshot.id == name


def _shards(dataset: str, checked: Checked) -> None:
    def submit(one: Shard) -> Any:
        return _shard_task.remote(dataset, one)

    found = cluster.run(list(checked.shards), submit, _room)
    with progress("verify shards", len(checked.shards), "shards") as advance:
        for one, damages in found:
            checked.shards[one] = not damages
            checked.found(damages)
            advance(1)


def _room() -> int:
    """Tasks at once: the next one waits where the last one runs."""
    return 2 * capacity.cpus()


@ray.remote(max_retries=3)
def _shard_task(dataset: str, one: Shard) -> tuple[Shard, list[str]]:
    return one, shard.check(dataset, one)


def _plan(snapshot: Snapshot, checked: Checked) -> None:
    try:
        sources = read_sound(plan.sources_url(snapshot.url), plan.SOURCES_SCHEMA)
    except HeadraceError as error:
        checked.found([str(error)])
        return
    checked.found(manifest.check_sources(snapshot, sources))
    parts = _parts(snapshot, sources["rows"].to_pylist(), checked)
    if any(part.damages for part in parts):
        return
    checked.found(verdicts.check_whole(snapshot, sources["part"].to_pylist(), parts))
    _places(snapshot, parts, checked)
    checked.found(_keys(snapshot, sources["first_row"].to_pylist()))


def _parts(snapshot: Snapshot, rows: list[int], checked: Checked) -> list[Part]:
    def submit(number: int) -> Any:
        return _part_task.remote(snapshot.url, number, rows[number])

    parts = []
    with progress("verify plan", len(rows), "parts") as advance:
        for part in cluster.run(range(len(rows)), submit, _room):
            parts.append(part)
            checked.found(part.damages)
            advance(1, snapshot.id)
    return sorted(parts, key=lambda part: part.number)


@ray.remote(max_retries=3)
def _part_task(snapshot_url: str, number: int, rows: int) -> Part:
    return verdicts.check_part(snapshot_url, number, rows)


def _places(snapshot: Snapshot, parts: list[Part], checked: Checked) -> None:
    senders = verdicts.parts_of_shards(parts)
    checked.found(verdicts.check_numbers(snapshot, senders))
    sound = [number for number, one in enumerate(snapshot.shards) if checked.shards[one]]

    def submit(number: int) -> Any:
        index = address.join(snapshot.dataset, snapshot.shards[number].index_path)
        return _places_task.remote(snapshot.url, number, index, senders.get(number, []))

    with progress("verify places", len(sound), "shards") as advance:
        for damages in cluster.run(sound, submit, _room):
            checked.found(damages)
            advance(1, snapshot.id)


@ray.remote(max_retries=3)
def _places_task(snapshot_url: str, number: int, index: str, parts: list[int]) -> list[str]:
    return listed(verdicts.check_places(snapshot_url, number, index, parts))


def _keys(snapshot: Snapshot, first_rows: list[int]) -> list[str]:
    """Names the keys that several images have: they come together by their hash."""
    engine, numbers = OnRay(), range(len(first_rows))
    given = engine.map(verdicts.keys, [snapshot.url] * len(numbers), numbers, first_rows)
    twice = engine.shuffle(given, "key", verdicts.repeated)
    return [damage for found in twice for damage in verdicts.told(snapshot, found)]


def summary(checked: Checked) -> str:
    """What was checked, in one line, and whether it is sound."""
    nbytes, count = sum(one.nbytes for one in checked.shards), len(checked.damages)
    verdict = f"damaged: {count:,} findings in" if count else "sound:"
    return (
        f"{verdict} {checked.snapshots:,} snapshots ({checked.retired:,} retired), "
        f"{len(checked.shards):,} shards, {nbytes:,} bytes"
    )
