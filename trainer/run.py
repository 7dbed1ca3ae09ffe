"""A run under way on one rank: its parts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from trainer.checkpoint import Saver
from trainer.compute import dtype_of
from trainer.config import TrainConfig
from trainer.delivered import Account
from trainer.distributed import World
from trainer.model.aim import AIM
from trainer.objective.objective import Objective
from trainer.skipping import Skipping
from trainer.stream.stream import Stream
from trainer.validation import Validation


@dataclass
class Run:
    """What the loop, a step and a checkpoint need."""

    config: TrainConfig
    world: World
    model: AIM
    optimiser: Optimizer
    objective: Objective
    stream: Stream
    validation: Validation | None
    folder: Path
    account: Account
    skipping: Skipping
    saver: Saver
    step: int = 0
    """Finished updates, the parent's and the skipped ones included."""
    validated: int = -1
    """The step that was validated last."""
    parent: dict[str, Any] | None = None
    """What it was forked from; see `fork.record`."""

    @property
    def identity(self) -> dict[str, Any]:
        """What its weights depend on, beside the stream: the config, and what it only points at."""
        dtype = str(dtype_of(self.config.compute, self.world.device)).removeprefix("torch.")
        found = {"compute": {"precision": dtype}, "target_sha256": self.objective.target.digest}
        return self.config.identity | found
