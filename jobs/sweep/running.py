"""Runs the units of a sweep, here one by one or as Ray tasks; one that fails stops none."""

import os
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from jobs.console import console
from jobs.sweep import unit as doing
from jobs.sweep.config import SweepConfig
from jobs.sweep.plan import Unit
from jobs.train import Ended
from pipeline.format.errors import HeadraceError
from trainer.control import STOPPED

LOSSES = 3
"""Times that the worker of one unit may be lost."""

Ending = tuple[str, str]
"""The folder of a unit, and why it failed: nothing where it did not."""


def here(units: Sequence[Unit]) -> dict[str, str]:
    """Folder → reason of the units that failed. Raises Ended if a signal stops one."""
    return _told(units, (_ending(unit) for unit in units))


def on_ray(units: Sequence[Unit], config: SweepConfig, workers: int | None) -> dict[str, str]:
    """The same as tasks that each take `config.resources`; a lost worker's unit is begun again.

    Raises HeadraceError if no machine has these. That a killed worker is replaced was seen by hand,
    and has no test: the start of another worker takes too long for one.
    """
    import ray

    from jobs import capacity, cluster

    options = config.resources.options()
    with cluster.session(workers):
        capacity.check("resources", options)
        task = ray.remote(max_retries=0, **options)(_task)  # a lost worker is counted below

        def submit(lane: int, attempt: _Attempt) -> Any:
            if attempt.lost > LOSSES:
                return ray.put((attempt.unit.folder, attempt.reason))
            return task.remote(attempt.unit, os.getcwd())

        room = partial(capacity.room, options)
        attempts = map(_Attempt, units)
        return _told(units, cluster.lanes(attempts, submit, room, _again))


@dataclass(frozen=True)
class _Attempt:
    unit: Unit
    lost: int = 0
    reason: str = ""


def _again(lane: int, attempt: _Attempt, error: Exception) -> _Attempt:
    """What the lost worker had saved, the next one goes on from.

    So it is with one that was told to stop, as its machine goes. The reason names no process and no
    machine, as it is written into the table.
    """
    from jobs import cluster

    cause = getattr(error, "cause", None) or cluster.failure(error)  # type: ignore[arg-type]
    reason = next(iter(str(cause).splitlines()), type(cause).__name__)
    return _Attempt(attempt.unit, attempt.lost + 1, reason)


def _task(unit: Unit, folder: str) -> Ending:
    """On a machine of the cluster; relative paths start at the folder of the command."""
    os.chdir(folder)
    return _ending(unit)


def _ending(unit: Unit) -> Ending:
    try:
        doing.do(unit)
    except Ended as error:
        if error.code == STOPPED:
            raise
        return unit.folder, str(error)
    except HeadraceError as error:
        return unit.folder, str(error)
    except Exception as error:  # of one row, whatever it is: the others go on
        console.print(traceback.format_exc(), markup=False, soft_wrap=True)
        return unit.folder, f"{type(error).__name__}: {error}"
    return unit.folder, ""


def _told(units: Sequence[Unit], endings: Iterator[Ending]) -> dict[str, str]:
    names = {unit.folder: f"{unit.name}, seed {unit.seed}" for unit in units}
    failed: dict[str, str] = {}
    for number, (folder, reason) in enumerate(endings, 1):
        said = f"failed: {reason}" if reason else "done"
        console.print(
            f"sweep: {number}/{len(units)}: {names[folder]}: {said}", markup=False, soft_wrap=True
        )
        failed |= {folder: reason} if reason else {}
    return failed
