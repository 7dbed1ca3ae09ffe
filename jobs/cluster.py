"""Ray: one machine by default, a cluster where RAY_ADDRESS names one."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import ray

from pipeline.format.errors import HeadraceError

Item = TypeVar("Item")

LOCAL_OBJECT_STORE = 256_000_000
"""Bytes of shared memory on one machine. Tasks publish files and return counts, so little goes
through it."""


@contextlib.contextmanager
def session(workers: int | None = None) -> Iterator[None]:
    """Ray up inside the block, unless the caller has it up already."""
    if ray.is_initialized():
        yield
        return
    local: dict[str, Any] = {
        "address": "local",  # or Ray joins whatever cluster it finds running on this machine
        "num_cpus": workers,
        "object_store_memory": LOCAL_OBJECT_STORE,
        "include_dashboard": False,
    }
    # Ray's coming default, which it otherwise announces at every start.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray.init(
        logging_level=logging.ERROR,
        log_to_driver=False,
        **({} if os.environ.get("RAY_ADDRESS") else local),
    )
    try:
        yield
    finally:
        ray.shutdown()


def cpus() -> int:
    """Processors of the whole cluster."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def gpus() -> int:
    """Accelerators of the whole cluster."""
    return int(ray.cluster_resources().get("GPU", 0))


def run(items: Iterable[Item], submit: Callable[[Item], Any], in_flight: int) -> Iterator[Any]:
    """Submits each item, at most `in_flight` at a time, and yields results as they come.

    Raises what a task raised; a HeadraceError comes through as itself.
    """
    queue = iter(items)
    running = [submit(item) for item in islice(queue, in_flight)]
    while running:
        done, running = ray.wait(running)
        running += [submit(item) for item in islice(queue, len(done))]
        for reference in done:
            yield get(reference)


def get(reference: Any) -> Any:
    """The value of a Ray reference, or the error of the task as a person should see it."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, HeadraceError):
            raise HeadraceError(str(cause)) from None
        raise
    except ray.exceptions.WorkerCrashedError as error:
        raise HeadraceError(
            "a Ray worker died each time it was given the same work; look for an out-of-memory "
            "kill on its machine, then run the same command again: finished parts are kept"
        ) from error
