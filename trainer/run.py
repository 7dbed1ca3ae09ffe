"""A run under way on one rank: its parts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from trainer.checkpoint import Saver
from trainer.config import RunConfig
from trainer.delivered import Account
from trainer.distributed import World
from trainer.learner import Learner
from trainer.skipping import Skipping
from trainer.snapshots import Snapshots
from trainer.stream.stream import Stream


@dataclass
class Run:
    """What the loop, a step and a checkpoint need."""

    config: RunConfig
    world: World
    learner: Learner
    optimiser: Optimizer
    stream: Stream
    snapshots: Snapshots
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
        return self.config.identity | self.learner.identity
