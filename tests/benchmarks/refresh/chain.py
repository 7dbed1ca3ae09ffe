"""A first snapshot and refreshes of equal new data, and what each of them read and wrote."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jobs import cluster, refresh
from jobs.config import CurateConfig
from tests.benchmarks.refresh.serving import Served, serving
from tests.benchmarks.refresh.weeks import write_week

Row = dict[str, Any]

SHARD_SAMPLES = 200


def config(dataset: Path, pool: str) -> CurateConfig:
    """Rules, and duplicates by bytes and by look, which are sought in the whole ledger."""
    return CurateConfig.model_validate(
        {
            "dataset": str(dataset),
            "sources": [{"url": f"{pool}/*.tar"}],
            "decide": {"rules": {"min_side": 64, "min_caption_words": 3}, "duplicates": {}},
            "write": {"shard_samples": SHARD_SAMPLES},
        }
    )


def chain(out: Path, refreshes: int, images: int, workers: int) -> Iterator[Row]:
    """One row for the first snapshot, and one for each refresh; the pool grows before each."""
    pool, dataset = out / "pool", out / "dataset"
    pool.mkdir(parents=True)
    with serving(pool) as server, cluster.session(workers):
        wanted = config(dataset, server.url)
        for week in range(refreshes + 1):
            new = {"refresh": week, "images_new": images}
            new["pool_bytes_new"] = write_week(pool, week, images)
            yield new | _refreshed(dataset, wanted, server, workers)


def _refreshed(dataset: Path, wanted: CurateConfig, server: Served, workers: int) -> Row:
    before, served, begin = _files(dataset), server.nbytes, time.monotonic()
    snapshot = refresh.run(wanted, workers)
    assert snapshot is not None
    seconds = time.monotonic() - begin
    now = _files(dataset)
    written = {path: size for path, size in now.items() if path not in before}
    return {
        "snapshot": snapshot.id,
        "parent": snapshot.parent,
        "images_pool": sum(snapshot.counts.values()),
        "images_kept": snapshot.samples,
        "images_measured": sum(
            pq.read_metadata(dataset / path).num_rows
            for path in written
            if path.startswith("ledger/image/")
        ),
        "image_bytes_read": server.nbytes - served,
        "shard_bytes_written": _below(written, "shards/"),
        "plan_bytes_written": _below(written, f"snapshots/{snapshot.id}/plan/"),
        "ledger_bytes_written": _below(written, "ledger/"),
        "ledger_bytes": _below(now, "ledger/"),
        "seconds": round(seconds, 3),
        "seconds_of": _stages(dataset, written),
    }


def _files(dataset: Path) -> dict[str, int]:
    """Path → bytes of all that the dataset holds."""
    found = (path for path in dataset.rglob("*") if path.is_file())
    return {str(path.relative_to(dataset)): path.stat().st_size for path in found}


def _below(files: dict[str, int], folder: str) -> int:
    return sum(size for path, size in files.items() if path.startswith(folder))


def _stages(dataset: Path, written: dict[str, int]) -> dict[str, float]:
    """Seconds by stage, from the run's own record."""
    (record,) = (path for path in written if path.startswith("runs/"))
    return json.loads((dataset / record).read_text())["seconds"]
