"""`headrace write`: kept images to shards, then one atomic step makes them a snapshot."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import ray

from jobs import capacity, cluster, metrics
from jobs.config import CurateConfig
from jobs.console import progress
from jobs.decide import Decision
from jobs.measure import Inputs
from jobs.record import recording
from pipeline.decide.layout import Span
from pipeline.format import address, retired
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Shard, Snapshot, latest
from pipeline.write.alter import AlterConfig
from pipeline.write.alter import columns as alter_columns
from pipeline.write.publish import library_versions, publish
from pipeline.write.rewrite import rewrite_shard
from pipeline.write.rows import Kept, kept_rows
from pipeline.write.shards import WRITE_COLUMNS, shard_path, write_shard


def run(
    config: CurateConfig, found: Inputs, decision: Decision, workers: int | None = None
) -> Snapshot:
    """Writes the shards that are not there yet and publishes the snapshot.

    Shards of the parent that nothing leaves are shared; those that something leaves are written
    anew from themselves. Raises HeadraceError if LATEST is no more the parent by then, and if the
    very same snapshot was published and retired before.
    """
    with recording("write", config.dataset_url, config) as record, record.stage("write"):
        parent = found.lineage.parent
        expected = parent.id if parent else latest(config.dataset_url)
        _refuse_retired(address.join(config.dataset_url, "snapshots", decision.id))
        with cluster.session(workers):
            inherited = _inherited(config, decision, parent)
            shards = inherited + _new_shards(config, found, decision)
        snapshot = Snapshot(
            dataset=config.dataset_url,
            id=decision.id,
            parent=parent.id if parent else None,
            config=decision.identity,
            plan_sha256=decision.sha256,
            counts=decision.counts,
            not_downloaded=decision.not_downloaded,
            shards=tuple(shards),
            ledger=found.families,
            libraries=library_versions(),
        )
        publish(snapshot, expected)
        record.note(snapshot=snapshot.id, counts=snapshot.counts)
        return snapshot


def _refuse_retired(url: str) -> None:
    if retired.is_retired(url):
        raise HeadraceError(
            f"{url}: this very snapshot was published and retired; `headrace refresh` goes on from "
            f"the newest one, or delete {address.join(url, retired.NAME)} and run this again"
        )


def _inherited(config: CurateConfig, decision: Decision, parent: Snapshot | None) -> list[Shard]:
    """The parent's shards that keep something, in order: as they are, or without what goes."""
    if parent is None:
        return []
    gone = [decision.heritage.leaving(shard) for shard in decision.heritage.heirs]
    olds = [parent.shards[shard] for shard in decision.heritage.heirs]
    todo = [number for number, leaving in enumerate(gone) if leaving]

    def work(number: int) -> tuple[Any, ...]:
        path = shard_path(decision.id, number)
        return rewrite_shard, parent.dataset, olds[number], path, gone[number]

    written = {shard.path: shard for shard in _on_ray(config, "rewrite shards", todo, work)}
    return [written.get(shard_path(decision.id, n), old) for n, old in enumerate(olds)]


def _new_shards(config: CurateConfig, found: Inputs, decision: Decision) -> list[Shard]:
    formats = {part.source: part.format for part in found.lineage.parts}
    kept = Kept(config.dataset_url, decision.id, found.families)
    holders = parts_of_shards(decision.spans)

    def work(number: int) -> tuple[Any, ...]:
        parts = [(part, found.lineage.parts[part].name) for part in holders[number]]
        return _write, kept, number, parts, formats, config.write.alter

    return _on_ray(config, "write shards", sorted(holders), work)


def _on_ray(
    config: CurateConfig, what: str, numbers: list[int], work: Callable[[int], tuple[Any, ...]]
) -> list[Shard]:
    """Runs a task for each shard: a function and its arguments. What was written, in order."""
    if not numbers:
        return []
    options = config.stages.write.options()
    capacity.check("write", options)
    task = _shard_task.options(**options)

    def room() -> int:
        return 2 * capacity.room(options)  # a second shard waits where the first is written

    def submit(number: int) -> Any:
        return task.remote(*work(number))

    shards = []
    with progress(what, len(numbers), "shards") as advance:
        for shard in cluster.run(numbers, submit, room):
            shards.append(shard)
            metrics.wrote(shard, what)
            advance(1)
    return sorted(shards, key=lambda shard: shard.path)


def parts_of_shards(spans: list[Span | None]) -> dict[int, list[int]]:
    """Shard → the parts whose kept rows it holds, in pool order."""
    holders = defaultdict(list)
    for part, span in enumerate(spans):
        for shard in range(span.first, span.last + 1) if span else ():
            holders[shard].append(part)
    return dict(holders)


@ray.remote(max_retries=3)
def _shard_task(function: Callable[..., Shard], *arguments: Any) -> Shard:
    return function(*arguments)


def _write(
    kept: Kept,
    number: int,
    parts: list[tuple[int, str]],
    formats: dict[str, str],
    alter: AlterConfig,
) -> Shard:
    columns = {*WRITE_COLUMNS, *alter_columns(alter)}
    rows = partial(kept_rows, kept, number, parts, columns)
    return write_shard(kept.dataset, shard_path(kept.snapshot, number), rows, formats, alter)
