"""Real trainings of filters, here and in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from trainer import train as training
from trainer.contrastive.config import FilterConfig

ROOT = Path(__file__).parents[3]
STEPS = 24
TRAINER = ("-m", "trainer.contrastive")


def here(config: dict, **changes) -> list[dict]:
    """Trains in this process; the lines of the log."""
    lines: list[dict] = []
    training.train(FilterConfig.model_validate(config | changes), lines.append)
    return lines


def start(
    config: dict, ranks: int = 1, program: tuple = TRAINER, words: tuple = ()
) -> subprocess.Popen:
    """The program with the config and these words, on so many ranks."""
    path = Path(config["run"]).with_suffix(".json")
    path.write_text(json.dumps(config))
    launch = [sys.executable]
    if ranks > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command = [str(word) for word in (*launch, *program, path, *words)]
    pipe, environment = subprocess.PIPE, os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def train(config: dict, ranks: int = 1) -> Path:
    process = start(config, ranks)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return Path(config["run"])
