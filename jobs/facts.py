"""The image family on Ray: a task for each part, and what follows when its process dies."""

import faulthandler
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray

from jobs import capacity, cluster, metrics
from jobs.config import CurateConfig
from jobs.console import console, progress
from pipeline import ledger
from pipeline.format.errors import HeadraceError
from pipeline.measure import image, limits
from pipeline.measure.careful import isolated, measure_part_carefully
from pipeline.measure.image import ImageConfig
from pipeline.pool.sample import Part

SECONDS = 60
SLOWEST = 250_000
"""A fast worker has 60 s and one more for every 250 kB of its part, then it counts as hung. That
is a twentieth of what one core measures of ordinary photographs (5 MB/s), so that a busy machine
or a slow store is not mistaken for a hang; the mistake would cost time, and no fact."""

DEATHS = 3
"""As often may the process die that measures one part with care. It decodes nothing itself, so by
then something is wrong with the machines."""


@dataclass(frozen=True)
class _Attempt:
    part: Part
    careful: bool = False
    deaths: int = 0


@dataclass(frozen=True)
class _Done:
    part: Part
    images: int
    told: str = ""
    """A line for a person, if there is something to say."""


def measure(config: CurateConfig, todo: Sequence[Part], mark: str) -> None:
    """Publishes the facts of these parts, whatever their images do to the processes."""
    if not todo:
        return
    options = config.stages.image.options()
    capacity.check("image", options)

    def submit(_: int, attempt: _Attempt) -> Any:
        part = attempt.part
        url = ledger.part_url(config.dataset_url, "image", mark, part.name)
        task = _careful_task if attempt.careful else _fast_task
        return task.options(**options).remote(part, config.measure.image, url)

    def lanes() -> int:
        return 2 * capacity.room(options)  # a second part waits where the first is measured

    attempts = map(_Attempt, todo)
    with progress("measure images", len(todo), "parts") as advance:
        for done in cluster.lanes(attempts, submit, lanes, _rescue):
            if done.told:
                console.print(done.told, soft_wrap=True)
            metrics.measured("image", done.images, done.part.nbytes)
            advance(1)


@ray.remote(max_retries=0)
def _fast_task(part: Part, config: ImageConfig, url: str) -> _Done:
    faulthandler.dump_traceback_later(time_limit(part), exit=True, file=2)
    try:
        with limits.memory_limit(limits.memory(config.max_bytes, config.max_pixels)):
            table = image.measure_part(part, config)
    finally:
        faulthandler.cancel_dump_traceback_later()
    if isolated(table):
        raise MemoryError("an image asked for more than one may take")
    ledger.write_part(url, table)
    return _Done(part, table.num_rows)


@ray.remote(max_retries=0)
def _careful_task(part: Part, config: ImageConfig, url: str) -> _Done:
    table = measure_part_carefully(part, config)
    ledger.write_part(url, table)
    kinds = Counter(error.partition(":")[0] for error in isolated(table))
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    told = f"measure: {part.source}: isolated {listed or 'no sample'}"
    return _Done(part, table.num_rows, told)


def time_limit(part: Part) -> float:
    """Seconds after which a fast worker counts as hung."""
    return SECONDS + part.nbytes / SLOWEST


def _rescue(_: int, attempt: _Attempt, error: ray.exceptions.RayError) -> _Attempt:
    """What is tried after an attempt failed. Raises what a person must see to."""
    lost = isinstance(error, cluster.LOST)
    if isinstance(error, ray.exceptions.NodeDiedError) and not attempt.deaths:
        return replace(attempt, deaths=1)  # a machine's death says nothing of the images
    if not attempt.careful and (lost or _raised(error)):
        why = "its worker died or hung" if lost else f"{_raised(error)} in its worker"
        words = f"measure: {attempt.part.source}: {why}; measuring it with care"
        console.print(words, soft_wrap=True)
        return _Attempt(attempt.part, careful=True)
    if lost and attempt.deaths + 1 < DEATHS:
        return replace(attempt, deaths=attempt.deaths + 1)
    if lost:
        raise HeadraceError(
            f"{attempt.part.source}: the process that measures this part died {DEATHS} times; look "
            "for an out-of-memory kill on its machine, then run the same command again: finished "
            "parts are kept"
        ) from error
    raise cluster.failure(error) from error


def _raised(error: ray.exceptions.RayError) -> str:
    """The name of what the task raised, unless it is meant for a person."""
    cause = getattr(error, "cause", None)
    return "" if cause is None or cluster.is_ours(error) else type(cause).__name__
