"""How often each head is right, over all ranks."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trainer import distributed
from trainer.distributed import World
from trainer.probing.config import ProbeConfig
from trainer.probing.labels import Classes, HeldOut
from trainer.stream.batch import Batch
from trainer.stream.ordered import PADDING, held_out, ordered
from trainer.stream.source import Source
from trainer.stream.transfer import sent

FEW = 5
"""Of the second count: the label is among so many best guesses."""

Logits = Callable[[Batch], list[Tensor]]
"""Of a batch in evaluation view: (B, C) of each head."""


class Judge:
    """What all heads are asked about, and how this rank reads its share of it."""

    def __init__(
        self, source: Source, classes: Classes, world: World, batch: int, image_size: int
    ) -> None:
        self.source, self.classes, self.world = source, classes, world
        self.batch, self.image_size = batch, image_size

    @torch.no_grad()
    def figures(self, logits: Logits, poll: Callable[[], None]) -> list[dict[str, Any]]:
        """Of each head: `n` images, how many it has right (`top1`), and among its five best guesses
        (`top5`), and the mean `loss`. A collective call; `poll` comes before each batch.

        Raises HeadraceError for a damaged image, or one whose caption is no class.
        """
        sums: Tensor | None = None
        ranks = self.world.rank, self.world.size
        for batch in ordered(self.source, self.image_size, self.batch, *ranks):
            poll()
            added = self._sums(batch, logits(batch))
            sums = added if sums is None else sums + added
        assert sums is not None, "a source is never empty"
        n = len(self.source)
        return [
            {"n": n, "top1": round(first), "top5": round(few), "loss": loss / n}
            for first, few, loss in distributed.total(sums).tolist()
        ]

    def _sums(self, batch: Batch, logits: list[Tensor]) -> Tensor:
        """(heads, 3) float64, without padding."""
        there = int((batch.samples != PADDING).sum())  # which comes last
        labels = torch.tensor(self.classes.labels(batch, range(there)), dtype=torch.int64)
        told = sent(labels, self.world.device)
        return torch.stack([counts(one[:there], told) for one in logits])


def judges(config: ProbeConfig, world: World, name: str) -> dict[str, Judge | None]:
    """Of the test set, and of what is held out of the training set, the stream's source `name`, if
    something is: `test` and `held_out`.

    Raises HeadraceError if a set cannot be had.
    """
    stream, share = config.stream, config.hold_out
    batch = max(1, stream.batch // (world.size * config.compute.micro_batches))
    told = Classes(config.classes), world, batch, stream.image_size
    kept = None
    if share:
        kept = Judge(HeldOut.open(config.train, name, share, config.seed, stream.patience), *told)
    return {"test": Judge(held_out(config.test, stream.patience), *told), "held_out": kept}


def counts(logits: Tensor, labels: Tensor) -> Tensor:
    """Right at once, right in five guesses, and the sum of the losses: (3,) float64.

    A class that is rated like the label, or not finitely, counts as rated above it.
    """
    own = logits.gather(1, labels[:, None])
    place = (~(logits < own)).sum(dim=1)  # 1 is the best
    loss = functional.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([(place <= 1).sum().double(), (place <= FEW).sum().double(), loss.double()])
