"""`headrace train`: checks the config, then runs the loop here or under torchrun."""

import subprocess
import sys
import tempfile
from pathlib import Path

from jobs.console import console, progress
from pipeline.format.errors import HeadraceError
from trainer.config import TrainConfig
from trainer.train import train


def run(config: TrainConfig, processes: int = 1, parent: str | None = None) -> None:
    """Trains on `processes` ranks of this machine; resumes if the run's folder holds checkpoints.

    `parent` is a run or checkpoint to fork. Raises HeadraceError where training cannot go on.
    """
    if processes == 1:
        _here(config, parent)
    else:
        _under_torchrun(config, processes, parent)


def _here(config: TrainConfig, parent: str | None) -> None:
    with progress(f"train {config.run}", config.steps, "steps") as advance:
        done = 0

        def report(step: int, loss: float) -> None:
            nonlocal done
            advance(step - done, f"loss {loss:.4f}")
            done = step

        train(config, report, parent)


def _under_torchrun(config: TrainConfig, processes: int, parent: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(config.model_dump_json())
        console.print(f"train {config.run} on {processes} processes")
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        launch += [f"--nproc-per-node={processes}", "-m", "trainer", str(path)]
        launch += [parent] if parent else []
        code = subprocess.run(launch, check=False).returncode
    if code:
        raise HeadraceError(
            f"{config.run}: training stopped with exit code {code}; the lines above say why, "
            "and the same command resumes from the last checkpoint"
        )
