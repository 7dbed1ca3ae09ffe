"""The validation loss, in two fixed forms that every run of every size shares.

The paper reports the pre-training loss on the IN-1k validation set and does not say with which
prefix, so both are logged: `causal` counts the targets 1 to K - 1 of every image (S = 1), `prefix`
draws S as in training, but from a key that is the sample's own and never changes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.format.errors import HeadraceError
from pipeline.format.patience import patiently
from pipeline.format.shards import of_snapshot
from pipeline.format.snapshot import read_snapshot
from trainer import distributed, pictures
from trainer.config import TrainConfig
from trainer.distributed import World
from trainer.model.aim import AIM
from trainer.objective import loss_sum_and_count
from trainer.pixels import normalise
from trainer.stream.batch import Batch
from trainer.stream.ordered import PADDING, ordered
from trainer.stream.plan import prefix_lengths
from trainer.stream.source import Source

FORMS = ("causal", "prefix")
SEED = 2401_08541
"""Of the prefixes: the paper's number, the same in every run whatever its own seed."""

PICTURED = 8
"""Images whose predictions are drawn."""


@dataclass(frozen=True)
class Validation:
    """A validation set, and how this rank reads its share of it."""

    source: Source
    world: World
    batch: int
    image_size: int

    @classmethod
    def open(cls, config: TrainConfig, world: World) -> "Validation":
        """Opens `config.validation`. Raises HeadraceError if it is no snapshot, or an empty one."""
        url, patience = config.validation or "", config.stream.patience
        snapshot = patiently(partial(read_snapshot, url), url, patience)
        if not snapshot.samples:
            raise HeadraceError(f"{snapshot.url}: has no samples to take a validation loss on")
        source = Source("validation", of_snapshot(snapshot), patience)
        batch = max(1, config.stream.batch // world.size)
        return cls(source, world, batch, config.stream.image_size)

    @torch.no_grad()
    def losses(self, model: AIM) -> dict[str, float]:
        """Mean squared error per patch of each form, over all ranks. A collective call."""
        model.eval()
        sums = torch.zeros(len(FORMS), 2, dtype=torch.float64)
        for batch in self._batches():
            images = normalise(batch.images, self.world.device)
            for row, prefix in enumerate(self._prefixes(batch, model)):
                loss, count = loss_sum_and_count(model(images, prefix), images, prefix)
                sums[row] += torch.stack([loss.double(), count.double()]).cpu()
        model.train()
        loss_sums, counts = distributed.total(sums).unbind(dim=1)
        return dict(zip(FORMS, (loss_sums / counts).tolist(), strict=True))

    def save_picture(self, model: AIM, path: Path) -> None:
        """Draws the first images and their predictions. All ranks call, the first one writes."""
        batch = next(iter(self._batches()))
        images = normalise(batch.images[:PICTURED], self.world.device)
        predictions = pictures.predict(model, images, model.config.patch_size)
        if self.world.leads:
            pictures.save_grid(path, images, predictions)

    def _batches(self) -> Iterator[Batch]:
        return ordered(self.source, self.image_size, self.batch, self.world.rank, self.world.size)

    def _prefixes(self, batch: Batch, model: AIM) -> tuple[Tensor, Tensor]:
        """S of each image in both forms; padding has S = K, which counts no target."""
        patches = model.config.num_patches
        samples = batch.samples.numpy()
        drawn = torch.from_numpy(prefix_lengths(SEED, 0, samples, np.zeros_like(samples), patches))
        padded = batch.samples == PADDING
        forms = (torch.ones_like(drawn), drawn)
        causal, prefix = (form.masked_fill(padded, patches) for form in forms)
        return causal.to(self.world.device), prefix.to(self.world.device)
