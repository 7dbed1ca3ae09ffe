"""`headrace curate`: measure, decide and write, with a record of the run beside the snapshot."""

from collections.abc import Sequence

from jobs import cluster, decide, measure, write
from jobs.config import CurateConfig
from jobs.console import console
from jobs.record import recording
from pipeline.format.snapshot import Snapshot
from pipeline.pool.sample import Part


def run(config: CurateConfig, workers: int | None = None) -> Snapshot:
    """The whole line from pool to snapshot. Idempotent: what is done already is not done again."""
    with recording("curate", config.dataset_url, config), cluster.session(workers):
        found = measure.inputs(config)
        measure.run(config, found, workers)
        decision = decide.run(config, found, workers)
        return write.run(config, found, decision, workers)


def dry_run(config: CurateConfig) -> None:
    """Says what a run would do. Lists and fingerprints; reads no image and writes nothing."""
    found = measure.inputs(config)
    todo, pool = measure.missing(config, found), found.lineage.parts
    console.print(f"dataset     {config.dataset_url}")
    console.print(f"pool        {len(pool)} parts, {_megabytes(pool)}")
    console.print(f"references  {len(found.references)} parts, {_megabytes(found.references)}")
    for name, parts in todo.items():
        console.print(f"measure     {name}: {len(parts)} parts to do ({_megabytes(parts)})")
    console.print("decide and write follow from what is measured; nothing was written")


def _megabytes(parts: Sequence[Part]) -> str:
    return f"{sum(part.nbytes for part in parts) / 1e6:,.1f} MB"
