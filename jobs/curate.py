"""`headrace curate`: measure, decide and write, with a record of the run beside the snapshot."""

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from jobs import cluster, decide, measure, write
from jobs.config import CurateConfig
from jobs.console import console
from pipeline.format import address, writing
from pipeline.format.snapshot import Snapshot
from pipeline.pool.sample import Part


def run(config: CurateConfig, workers: int | None = None) -> Snapshot:
    """The whole line from pool to snapshot. Idempotent: what is done already is not done again."""
    started, seconds = datetime.now(UTC), dict[str, float]()
    with cluster.session(workers):
        with _timed(seconds, "measure"):
            found = measure.run(config, workers)
        with _timed(seconds, "decide"):
            decision = decide.run(config, found, workers)
        with _timed(seconds, "write"):
            snapshot = write.run(config, found, decision, workers)
    _record(snapshot, started, seconds)
    return snapshot


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    begin = time.monotonic()
    yield
    seconds[stage] = round(time.monotonic() - begin, 3)


def _record(snapshot: Snapshot, started: datetime, seconds: dict[str, float]) -> None:
    """Times and hosts: whatever may differ between two runs of the same inputs."""
    record = {
        "snapshot": snapshot.id,
        "started": started.isoformat(timespec="seconds"),
        "host": platform.node(),
        "seconds": seconds,
        "counts": snapshot.counts,
    }
    name = f"{started:%Y%m%dT%H%M%SZ}-{os.getpid()}.json"
    url = address.join(snapshot.dataset, "runs", name)
    writing.publish(url, json.dumps(record, indent=1).encode() + b"\n")


def dry_run(config: CurateConfig) -> None:
    """Says what a run would do. Lists and fingerprints; reads no image and writes nothing."""
    found = measure.inputs(config)
    todo = measure.missing(config, found)
    console.print(f"dataset     {config.dataset_url}")
    console.print(f"pool        {len(found.parts)} parts, {_megabytes(found.parts)}")
    console.print(f"references  {len(found.references)} parts, {_megabytes(found.references)}")
    for name, parts in todo.items():
        console.print(f"measure     {name}: {len(parts)} parts to do ({_megabytes(parts)})")
    console.print("decide and write follow from what is measured; nothing was written")


def _megabytes(parts: list[Part]) -> str:
    return f"{sum(part.nbytes for part in parts) / 1e6:,.1f} MB"
