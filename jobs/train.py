"""Runs the loop of any training: in this process, under torchrun or on Ray."""

import signal
import tempfile
from pathlib import Path
from typing import Any

from jobs import launch
from jobs.console import console, logged
from pipeline.format.errors import HeadraceError
from trainer.config import RunConfig
from trainer.control import STOPPED, Stopped
from trainer.line import line
from trainer.train import train
from trainer.watchdog import HANGS, HUNG


class Ended(HeadraceError):
    """A run that ended before its last step and can go on; `code` is the command's exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def run(
    config: RunConfig, processes: int = 1, parent: str | None = None, ray: bool = False
) -> None:
    """Trains on `processes` ranks, of this machine or, with `ray`, of the cluster.

    Resumes if the run's folder holds checkpoints; `parent` is a run or checkpoint to fork. Raises
    HeadraceError where training cannot go on, and Ended where the same command would go on: a
    signal stopped it, with a checkpoint (code 75), or it stood still (70).
    """
    if ray:
        from jobs.ray_train import run as on_ray

        code = on_ray(config, processes, parent)
    elif processes == 1:
        code = _here(config, parent)
    else:
        code = _under_torchrun(config, processes, parent)
    if code:
        raise _ended(config.run, code)


def _here(config: RunConfig, parent: str | None) -> int:
    with logged(f"train {config.run}", config.steps, "steps") as told:

        def report(fields: dict[str, Any]) -> None:
            told(fields["step"], line(fields, config.steps))

        try:
            train(config, report, parent)
        except Stopped:
            return STOPPED
    return 0


def _under_torchrun(config: RunConfig, processes: int, parent: str | None) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(config.model_dump_json())
        console.print(f"train {config.run} on {processes} processes")
        words = ["-m", config.program, str(path), *([parent] if parent else [])]
        return launch.run(words, processes, config.stop_within)


def _ended(run: str, code: int) -> HeadraceError:
    again = "the same command goes on from the last checkpoint, if there is one"
    if code == STOPPED:
        return Ended(f"{run}: stopped by a signal, with a checkpoint; {again}", STOPPED)
    if code == HUNG:
        return Ended(f"{run}: stood still; {run}/{HANGS} says where each rank was; {again}", HUNG)
    what = f"with exit code {code}" if code > 0 else f"by {signal.Signals(-code).name}"
    return HeadraceError(
        f"{run}: training ended {what}; the lines above say why; once that is mended {again}"
    )
