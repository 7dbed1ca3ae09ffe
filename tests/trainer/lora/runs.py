"""Real trainings of LoRA in this process and on ranks."""

import json
from pathlib import Path

from tests.trainer.probing.runs import Killed
from tests.trainer.ranks import ranks
from tests.trainer.runs import finish
from trainer import train as training
from trainer.lora.config import LoraConfig

RANK = """
import sys
from pathlib import Path
from trainer.lora.config import LoraConfig
from trainer.train import train

train(LoraConfig.model_validate_json(Path(sys.argv[1]).read_text()))
"""


def here(config: dict, kill_after: int | None = None, **changes) -> list[dict]:
    """Trains in this process; the lines of the log. Ends in the middle, if asked to."""
    lines: list[dict] = []

    def progress(fields: dict) -> None:
        lines.append(fields)
        if fields["step"] == kill_after:
            raise Killed

    training.train(LoraConfig.model_validate(config | changes), progress)
    return lines


def on_ranks(config: dict, count: int) -> None:
    path = Path(config["run"]).with_suffix(".json")
    path.write_text(json.dumps(config))
    with ranks(count, RANK, path) as started:
        finish(started)
