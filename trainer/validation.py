"""The validation loss, in fixed forms that every run of every size shares.

The paper reports the pre-training loss on the IN-1k validation set and does not say with which
prefix, so both are logged: `causal` counts the targets 1 to K - 1 of every image (S = 1), `prefix`
draws S as in training, but from a key that is the sample's own and never changes. A masked
objective has one form, `masked`, with masks drawn in the same way.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from trainer import distributed, pictures
from trainer.config import TrainConfig
from trainer.distributed import World
from trainer.model.aim import AIM
from trainer.objective import fixed
from trainer.objective.objective import Objective
from trainer.objective.task import Task
from trainer.pixels import normalise
from trainer.stream.batch import Batch
from trainer.stream.ordered import PADDING, held_out, ordered
from trainer.stream.source import Source

CHUNKS = 16
"""Points of the curve over the sequence (AIM figure 7)."""

PICTURED = 8
"""Images whose predictions are drawn."""


class Losses(NamedTuple):
    """Of the whole validation set, over all ranks."""

    means: dict[str, float]
    """Form → mean over all its predictions."""
    curve: list[float] | None
    """The causal form's mean in each chunk of the sequence, from its beginning on."""


@dataclass(frozen=True)
class Validation:
    """A validation set, what is asked of it, and how this rank reads its share."""

    source: Source
    world: World
    objective: Objective
    batch: int
    image_size: int

    @classmethod
    def open(cls, config: TrainConfig, world: World, objective: Objective) -> "Validation":
        """Opens `config.validation`. Raises HeadraceError if it is no snapshot, or an empty one."""
        source = held_out(config.validation or "", config.stream.patience)
        if world.leads and not objective.has_pixels:
            print("validation: no pictures are drawn: tokens have no pixels", file=sys.stderr)
        batch = max(1, config.stream.batch // (world.size * config.compute.micro_batches))
        return cls(source, world, objective, batch, config.stream.image_size)

    @torch.no_grad()
    def losses(self, model: AIM, poll: Callable[[], None]) -> Losses:
        """The loss of each form. A collective call; `poll` comes before each batch and may raise.

        Raises ValueError if a form asks nothing.
        """
        names = fixed.forms(self.objective)
        shape = (len(names), self._chunks, 2)
        sums = torch.zeros(shape, dtype=torch.float64, device=self.world.device)
        with _evaluating(model):
            for batch in self._batches():
                poll()
                images = normalise(batch.images, self.world.device)
                for row, task in zip(sums, self._tasks(batch), strict=True):
                    row += self._sums(model, images, task.to(self.world.device))
        return _means(names, distributed.total(sums).cpu())

    def save_picture(self, model: AIM, path: Path) -> None:
        """Draws the first images and their predictions. All ranks call, the first one writes."""
        if not self.objective.has_pixels:
            return
        count = min(PICTURED, len(self.source))
        batch = next(ordered(self.source, self.image_size, count))
        images = normalise(batch.images, self.world.device)
        with _evaluating(model):
            drawn = pictures.draw(model, self.objective, images)
        if self.world.leads:
            pictures.save_grid(path, drawn)

    def _batches(self) -> Iterator[Batch]:
        return ordered(self.source, self.image_size, self.batch, self.world.rank, self.world.size)

    def _tasks(self, batch: Batch) -> list[Task]:
        samples = batch.samples.numpy()
        return fixed.asked(self.objective, samples, samples != PADDING)

    @property
    def _chunks(self) -> int:
        """At least two positions each, as nothing is asked about the first one."""
        return min(CHUNKS, self.objective.patches // 2)

    def _sums(self, model: AIM, images: Tensor, task: Task) -> Tensor:
        """(chunks, 2): sums of the losses, and of what counts, by place in the sequence."""
        predictions = model(images, task.prefix, task.rows, task.masked)
        losses = self.objective.losses(predictions, images, task).double()
        weights = torch.ones_like(losses) if task.weights is None else task.weights.double()
        K, chunks = self.objective.patches, self._chunks
        about = task.rows % K + (0 if self.objective.config.kind == "masked" else 1)
        chunk = torch.arange(chunks, device=about.device)
        inside = (about[:, None] * chunks // K == chunk).double()  # (M, chunks)
        return torch.stack([losses, weights]).matmul(inside).T


def _means(names: tuple[str, ...], sums: Tensor) -> Losses:
    """From (forms, chunks, 2)."""
    loss, count = sums.sum(dim=1).unbind(dim=1)
    for name, asked in zip(names, count.tolist(), strict=True):
        if not asked:
            raise ValueError(f"the validation form {name} asks nothing, so it has no mean")
    means = dict(zip(names, (loss / count).tolist(), strict=True))
    if "causal" not in names:
        return Losses(means, None)
    causal = sums[names.index("causal")]
    return Losses(means, (causal[:, 0] / causal[:, 1]).tolist())


@contextlib.contextmanager
def _evaluating(model: AIM) -> Iterator[None]:
    """It trains on afterwards, also if it was interrupted.

    What training may do without, a mask where no prefix varies, these questions need. Compiled
    blocks run as they are written: with the sizes of these questions, torch would compile more
    often than it allows itself to (`compute.prepare`).
    """
    kernel, model.kernel = model.kernel, "mask"
    model.eval()
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        model.train()
        model.kernel = kernel
