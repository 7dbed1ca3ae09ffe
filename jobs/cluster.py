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

Room = int | Callable[[], int]
"""How many at once; a function is asked again as work goes on, so that a node that joins late gets
its share."""

OBJECT_STORE = 2_000_000_000
"""Bytes of shared memory on one machine, where it has ten times as much. Measuring and writing
publish files and return counts; the slim tables of decide go through it."""

LOST = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.RayActorError,
)
"""The process that had the work is gone, and says nothing of why."""

LOOK_SECONDS = 10
"""So often, while nothing comes back, a driver looks whether Ray is there at all."""

RAY_GONE = (
    "Ray's own process on this machine has ended; look for an out-of-memory kill, then run the "
    "same command again: finished parts are kept"
)


@contextlib.contextmanager
def session(workers: int | None = None) -> Iterator[None]:
    """Ray up inside the block, unless the caller has it up already."""
    if ray.is_initialized():
        yield
        return
    local: dict[str, Any] = {
        "address": "local",  # or Ray joins whatever cluster it finds running on this machine
        "num_cpus": workers,
        "object_store_memory": _object_store(),
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


def _object_store() -> int:
    """A tenth of the machine's memory, and no more than `OBJECT_STORE`."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(OBJECT_STORE, memory // 10)


def run(items: Iterable[Item], submit: Callable[[Item], Any], in_flight: Room) -> Iterator[Any]:
    """Submits each item, at most `in_flight` at a time, and yields results as they come.

    Raises what a task raised; a HeadraceError comes through as itself.
    """
    return lanes(items, lambda _, item: submit(item), in_flight, _give_up)


def lanes(
    items: Iterable[Item],
    submit: Callable[[int, Item], Any],
    count: Room,
    rescue: Callable[[int, Item, ray.exceptions.RayError], Item],
    idle: Callable[[int], None] = lambda lane: None,
) -> Iterator[Any]:
    """Runs each item in one of `count` lanes, one at a time in a lane; results as they come.

    Lanes are added while the count grows. Machines that go take none away: what waits in a lane
    then waits for its turn.

    What a lost item is tried as next, in the same lane, is for `rescue` to say, or to raise.
    `idle` is told of a lane that finds nothing more to do.
    """
    queue = iter(items)
    running: dict[Any, tuple[int, Item]] = {}
    opened = 0

    def start(lane: int) -> None:
        for item in islice(queue, 1):
            running[submit(lane, item)] = lane, item
            return
        idle(lane)

    while True:
        wanted = count if isinstance(count, int) else count()
        for lane in range(opened, wanted):
            start(lane)
        opened = max(opened, wanted)
        if not running:
            return
        done = _done(list(running))
        if done is None:
            continue
        lane, item = running.pop(done)
        try:
            value = ray.get(done)
        except ray.exceptions.RayError as error:
            item = rescue(lane, item, error)
            running[submit(lane, item)] = lane, item
            continue
        start(lane)
        yield value


def _first_done(references: list[Any]) -> Any:
    """Waits for one of them."""
    while (done := _done(references)) is None:
        pass
    return done


def _done(references: list[Any]) -> Any | None:
    """One of them that is done, or None after `LOOK_SECONDS`.

    Raises HeadraceError if this machine's part of Ray is gone: what is left would wait for ever.
    """
    done, _ = ray.wait(references, timeout=LOOK_SECONDS)
    if done:
        return done[0]
    here = ray.get_runtime_context().get_node_id()
    if not any(node["Alive"] for node in ray.nodes() if node["NodeID"] == here):
        raise HeadraceError(RAY_GONE)
    return None


def _give_up(lane: int, item: Any, error: ray.exceptions.RayError) -> Any:
    raise failure(error) from error


def get(reference: Any) -> Any:
    """The value of a Ray reference, or the error of the task as a person should see it."""
    try:
        return ray.get(_first_done([reference]))
    except ray.exceptions.RayError as error:
        raise failure(error) from error


def is_ours(error: ray.exceptions.RayError) -> bool:
    """Whether the task raised a HeadraceError: it ran, and has something to say to a person."""
    return isinstance(getattr(error, "cause", None), HeadraceError)


def failure(error: ray.exceptions.RayError) -> Exception:
    """The error of a task as a person should see it; one of ours comes through as itself."""
    if is_ours(error):
        return HeadraceError(str(getattr(error, "cause", error)))
    if isinstance(error, ray.exceptions.LocalRayletDiedError):
        return HeadraceError(RAY_GONE)
    if isinstance(error, LOST):
        return HeadraceError(
            "a Ray worker died each time it was given the same work; look for an out-of-memory "
            "kill on its machine, then run the same command again: finished parts are kept"
        )
    return error
