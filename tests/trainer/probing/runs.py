"""Real trainings on labelled images, here and on ranks, and what they left."""

import json
from pathlib import Path

from torch import Tensor

from tests.trainer.ranks import ranks
from tests.trainer.runs import finish, tensors
from trainer import train as training
from trainer.config import RunConfig
from trainer.probing.config import ProbeConfig

RANK = """
import sys
from importlib import import_module
from pathlib import Path
from trainer.train import train

module, kind, path = sys.argv[1:]
train(getattr(import_module(module), kind).model_validate_json(Path(path).read_text()))
"""


class Killed(Exception):
    """As if the process had been."""


def here(
    config: dict,
    kill_after: int | None = None,
    kind: type[RunConfig] = ProbeConfig,
    **changes,
) -> list[dict]:
    """Trains in this process; the lines of the log. Ends in the middle, if asked to."""
    lines: list[dict] = []

    def progress(fields: dict) -> None:
        lines.append(fields)
        if fields["step"] == kill_after:
            raise Killed

    training.train(kind.model_validate(config | changes), progress)
    return lines


def on_ranks(config: dict, count: int, kind: type[RunConfig] = ProbeConfig) -> None:
    path = Path(config["run"]).with_suffix(".json")
    path.write_text(json.dumps(config))
    with ranks(count, RANK, kind.__module__, kind.__name__, path) as started:
        finish(started)


def weights(config: dict, step: int) -> dict[str, Tensor]:
    """All that a checkpoint holds, flat."""
    run = Path(config["run"])
    return tensors(run, run.parent, step)
