"""Updates that were not made, because loss or gradient were not finite: `<run>/nonfinite.jsonl`.

A step of this kind leaves weights and moments alone on all ranks (see step.py). What happened is
read from the device when the ranks settle, and no earlier: nothing waits for it. One line a step
names the samples whose own loss is not finite; if no loss is to blame but the gradient, all of the
step's samples are named.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.format.errors import HeadraceError
from trainer import distributed
from trainer.metrics import Metrics
from trainer.stream.batch import Batch

NAME = "nonfinite.jsonl"


class _Step(NamedTuple):
    step: int
    skipped: Tensor
    flaws: Tensor
    samples: list[tuple[int, int, str]]
    """Source, number and key of each: not the batch, whose pixels would stay with it."""


@dataclass
class Skipped:
    """Counts since the run began."""

    total: int = 0
    in_a_row: int = 0


class Skipping:
    """A run's account of them, kept by all ranks together."""

    def __init__(self, folder: Path, names: list[str], limit: int, leads: bool) -> None:
        """`limit` steps in a row end the run."""
        self.path, self.names, self.limit, self.leads = folder / NAME, names, limit, leads
        self.count = Skipped()
        self._waiting: list[_Step] = []
        self._log: Metrics | None = None

    def open(self, step: int, count: Skipped) -> None:
        """Begins after `step` steps, and forgets what a killed process wrote of later ones."""
        self.count = count
        if self.leads:
            self._log = Metrics(self.path, lambda line: line["step"] <= step)

    def add(self, step: int, skipped: Tensor, flaws: Tensor, batch: Batch) -> None:
        """Remembers a finished step; see `step.Made`."""
        samples = zip(batch.sources.tolist(), batch.samples.tolist(), batch.keys, strict=True)
        self._waiting.append(_Step(step, skipped, flaws, list(samples)))

    def settle(self) -> Skipped:
        """Counts what was added. A collective call; raises HeadraceError on all ranks alike."""
        steps, self._waiting = self._waiting, []
        if not steps:
            return self.count
        for step, skipped in zip(
            steps, torch.stack([s.skipped for s in steps]).tolist(), strict=True
        ):
            self.count.in_a_row = self.count.in_a_row + 1 if skipped else 0
            if skipped:
                self.count.total += 1
                self._write(step)
            if self.count.in_a_row >= self.limit:
                raise HeadraceError(
                    f"{self.path}: loss or gradient were not finite in {self.limit} steps in a "
                    f"row, the last one {step.step}; it lists their samples: look at them, or "
                    "lower optimiser.lr"
                )
        return self.count

    def _write(self, step: _Step) -> None:
        """All ranks are here, since all skipped it."""
        flaws = step.flaws.tolist()
        own = [one for one, flawed in zip(step.samples, flaws, strict=True) if flawed]
        parts = distributed.gather((own, step.samples))
        to_blame = [one for own, _ in parts for one in own]
        to_blame = to_blame or [one for _, every in parts for one in every]
        if self._log:
            named = [{"source": self.names[s], "sample": n, "key": k} for s, n, k in to_blame]
            self._log.write(step=step.step, samples=named)

    def close(self) -> None:
        """Closes the file."""
        if self._log:
            self._log.close()
