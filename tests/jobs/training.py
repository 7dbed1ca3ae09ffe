"""Training runs of a few seconds by the command, on a small mixture."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import yaml

from pipeline.format.mixture import Mixture, Source, mixture_bytes
from tests.trainer.conftest import read_pictures, write_snapshot
from tests.trainer.runs import MODEL
from trainer import checkpoint

STEPS = 12
Found = TypeVar("Found")


def make_mixture(folder: Path, demo_data: Path) -> Path:
    pictures = read_pictures(demo_data / "target" / "val-00000.tar")
    snapshot = write_snapshot(folder / "web", pictures, [9, 8, 6])
    path = folder / "mixture.json"
    path.write_bytes(mixture_bytes(Mixture((Source("web", snapshot.url, 1, snapshot.samples),))))
    return path


def config(tmp_path: Path, mixture: Path, name: str, **changes) -> Path:
    """A run into the folder of that name."""
    fields = {
        "run": str(tmp_path / name),
        "mixture": str(mixture),
        "model": MODEL,
        "stream": {"batch": 16, "lanes": 4, "image_size": 32},
        "steps": STEPS,
        "log_every": 3,
        "checkpoint_every": 4,
        "threads": 1,
    }
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(fields | changes))
    return path


def endless(tmp_path: Path, mixture: Path, name: str, checkpoint_every: int = 1_000_000) -> Path:
    """A run that only a signal ends, and which saves only then."""
    often = {"checkpoint_every": checkpoint_every, "log_every": 5}
    return config(tmp_path, mixture, name, steps=1_000_000, **often)


def newest(run: Path) -> str:
    """The newest checkpoint, "" if there is none."""
    return checkpoint.newest(str(run / "checkpoints")) or ""


def wait_for(condition: Callable[[], Found], process: subprocess.Popen) -> Found:
    """Waits for it to give something; the process must go on meanwhile."""
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return found


def wait_for_log(run: Path, process: subprocess.Popen) -> None:
    log = run / "metrics.jsonl"
    wait_for(lambda: log.exists() and log.stat().st_size, process)
