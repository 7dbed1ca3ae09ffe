"""What a run counts: for Prometheus, which each Ray node serves it to, and for the run's record.

A job counts in its own process, when a result has come back: a task that ran twice counts once,
and nothing is lost with a worker. docs/observability.md has the table of `COUNTERS` and `GAUGES`.
"""

import sys
from functools import cache
from typing import Any

from pipeline.format.snapshot import Shard

COUNTERS = {
    "headrace_images_measured": ("family", "Images whose facts went to the ledger"),
    "headrace_bytes_measured": ("family", "Bytes of the pool's parts that were read for them"),
    "headrace_images_decided": ("verdict", "Images by verdict: kept, or the reason why not"),
    "headrace_shards_written": ("stage", "Tars written, or found written by a run before"),
    "headrace_images_written": ("stage", "Images in these tars"),
    "headrace_bytes_written": ("stage", "Bytes of these tars"),
    "headrace_shards_fetched": ("outcome", "Shards of a URL list: written, or failed"),
    "headrace_stage_seconds": ("stage", "Wall-clock seconds of a job's stages that ended"),
}
"""Name → its one label, and what is counted. Prometheus sees `ray_<name>_total`."""

GAUGES = {
    "headrace_work_left": ("work", "What a progress bar still has to do, in its units"),
}
"""The same of what rises and falls. Prometheus sees `ray_<name>`."""

_counted: dict[str, float] = {}


def count(name: str, amount: float, label: str) -> None:
    """Adds to one of `COUNTERS`, for Prometheus while Ray is up; an amount of 0 adds nothing.

    `label`: the value of the counter's one label, of which there must only ever be a few.
    """
    if amount > 0:
        key, _ = COUNTERS[name]
        told = f"{name}{{{key}={label}}}"
        _counted[told] = _counted.get(told, 0) + amount
        if _somebody_listens():
            _counter(name).inc(amount, {key: label})


def measured(family: str, images: int, nbytes: int) -> None:
    """Counts a part whose facts are in the ledger."""
    count("headrace_images_measured", images, family)
    count("headrace_bytes_measured", nbytes, family)


def wrote(shard: Shard, stage: str) -> None:
    """Counts a tar that is there with its index."""
    count("headrace_shards_written", 1, stage)
    count("headrace_images_written", shard.samples, stage)
    count("headrace_bytes_written", shard.nbytes, stage)


def gauge(name: str, value: float, label: str) -> None:
    """Sets one of `GAUGES`, for Prometheus while Ray is up."""
    if _somebody_listens():
        _gauge(name).set(value, {GAUGES[name][0]: label})


def totals() -> dict[str, float]:
    """What this process has counted so far, by `name{label=value}`."""
    return _counted.copy()


def since(before: dict[str, float]) -> dict[str, float]:
    """What it has counted since `totals` was this, to a thousandth."""
    added = {told: amount - before.get(told, 0) for told, amount in _counted.items()}
    return {told: round(amount, 3) for told, amount in added.items() if amount}


def _somebody_listens() -> bool:
    """Whether Ray is up. It is not loaded for this: that takes a second."""
    ray: Any = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


@cache
def _counter(name: str) -> Any:
    import ray.util.metrics

    key, what = COUNTERS[name]
    return ray.util.metrics.Counter(name, what, (key,))


@cache
def _gauge(name: str) -> Any:
    import ray.util.metrics

    key, what = GAUGES[name]
    return ray.util.metrics.Gauge(name, what, (key,))
