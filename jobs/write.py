"""`headrace write`: kept images to shards, then one atomic step makes them a snapshot."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray

from jobs import cluster
from jobs.config import CurateConfig
from jobs.console import progress
from jobs.decide import Decision
from jobs.measure import Inputs
from pipeline import ledger
from pipeline.format.snapshot import Shard, Snapshot, latest
from pipeline.write.publish import library_versions, publish
from pipeline.write.shards import WRITE_COLUMNS, write_shard


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
        config=config.identity,
        plan_sha256=decision.plan.sha256,
        counts=decision.plan.counts,
        shards=tuple(shards),
        ledger=found.families,
        libraries=library_versions(),
    )
    publish(snapshot, expected)
    return snapshot


def _write_shards(
    config: CurateConfig, found: Inputs, decision: Decision, workers: int | None
) -> list[Shard]:
    rows = kept_rows(config, found, decision.plan.table)
    formats = {part.source: part.format for part in found.parts}
    numbers = sorted(set(rows["shard"].to_pylist()))

    def submit(number: int) -> Any:
        mine = rows.filter(pc.equal(rows["shard"], number)).sort_by("position")
        return _shard_task.remote(config.dataset_url, decision.id, number, mine, formats)

    shards = []
    with cluster.session(workers), progress("write shards", len(numbers), "shards") as advance:
        for shard in cluster.run(numbers, submit, in_flight=2 * cluster.cpus()):
            shards.append(shard)
            advance(1)
    return sorted(shards, key=lambda shard: shard.path)


@ray.remote(max_retries=3)
def _shard_task(
    dataset: str, snapshot: str, number: int, rows: pa.Table, formats: dict[str, str]
) -> Shard:
    return write_shard(dataset, snapshot, number, rows, formats)


def kept_rows(config: CurateConfig, found: Inputs, plan: pa.Table) -> pa.Table:
    """The kept rows of a plan beside the facts that writing them needs."""
    names = [part.name for part in found.parts]
    image = {"image": found.families["image"]}
    facts = ledger.read(config.dataset_url, image, names, WRITE_COLUMNS)
    where = ["source", "key", "offset"]
    kept = plan.filter(plan["keep"]).select([*where, "shard", "position", "shard_key"])
    return kept.join(facts, where, join_type="inner")
