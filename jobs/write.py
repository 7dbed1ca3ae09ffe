"""`headrace write`: kept images to shards, then one atomic step makes them a snapshot."""

from collections import defaultdict
from functools import partial
from typing import Any

import ray

from jobs import cluster
from jobs.config import CurateConfig
from jobs.console import progress
from jobs.decide import Decision
from jobs.measure import Inputs
from pipeline.decide.layout import Span
from pipeline.format.snapshot import Shard, Snapshot, latest
from pipeline.write.alter import AlterConfig
from pipeline.write.alter import columns as alter_columns
from pipeline.write.publish import library_versions, publish
from pipeline.write.rows import Kept, kept_rows
from pipeline.write.shards import WRITE_COLUMNS, shard_path, write_shard


def run(
    config: CurateConfig, found: Inputs, decision: Decision, workers: int | None = None
) -> Snapshot:
    """Writes the shards that are not there yet and publishes the snapshot."""
    expected = latest(config.dataset_url)
    shards = _write_shards(config, found, decision, workers)
    snapshot = Snapshot(
        dataset=config.dataset_url,
        id=decision.id,
        parent=None,
        config=decision.identity,
        plan_sha256=decision.sha256,
        counts=decision.counts,
        not_downloaded=decision.not_downloaded,
        shards=tuple(shards),
        ledger=found.families,
        libraries=library_versions(),
    )
    publish(snapshot, expected)
    return snapshot


def _write_shards(
    config: CurateConfig, found: Inputs, decision: Decision, workers: int | None
) -> list[Shard]:
    formats = {part.source: part.format for part in found.parts}
    kept = Kept(config.dataset_url, decision.id, found.families)
    holders = parts_of_shards(decision.spans)

    def submit(number: int) -> Any:
        parts = [(part, found.parts[part].name) for part in holders[number]]
        return _shard_task.remote(kept, number, parts, formats, config.write.alter)

    shards = []
    with cluster.session(workers), progress("write shards", len(holders), "shards") as advance:
        for shard in cluster.run(sorted(holders), submit, in_flight=2 * cluster.cpus()):
            shards.append(shard)
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
def _shard_task(
    kept: Kept,
    number: int,
    parts: list[tuple[int, str]],
    formats: dict[str, str],
    alter: AlterConfig,
) -> Shard:
    columns = {*WRITE_COLUMNS, *alter_columns(alter)}
    rows = partial(kept_rows, kept, number, parts, columns)
    return write_shard(kept.dataset, shard_path(kept.snapshot, number), rows, formats, alter)
