"""Real trainings of probes in this process, and what they left."""

import json
from pathlib import Path

from torch import Tensor

from tests.trainer.ranks import ranks
from tests.trainer.runs import finish, tensors
from trainer import train as training
from trainer.probing.config import ProbeConfig

RANK = """
import sys
from pathlib import Path
from trainer.probing.config import ProbeConfig
from trainer.train import train

train(ProbeConfig.model_validate_json(Path(sys.argv[1]).read_text()))
"""


class Killed(Exception):
    """As if the process had been."""


def here(config: dict, kill_after: int | None = None, **changes) -> list[dict]:
    """Trains in this process; the lines of the log. Ends in the middle, if asked to."""
    lines: list[dict] = []

    def progress(fields: dict) -> None:
        lines.append(fields)
        if fields["step"] == kill_after:
            raise Killed

    training.train(ProbeConfig.model_validate(config | changes), progress)
    return lines


def on_ranks(config: dict, count: int) -> None:
    path = Path(config["run"]).with_suffix(".json")
    path.write_text(json.dumps(config))
    with ranks(count, RANK, path) as started:
        finish(started)


def weights(config: dict, step: int) -> dict[str, Tensor]:
    """All that a checkpoint holds, flat."""
    run = Path(config["run"])
    return tensors(run, run.parent, step)
