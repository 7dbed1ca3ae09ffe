"""What the heads are shown: a frozen trunk's features of some images, window by window."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer import compute, flops
from trainer.compute import ComputeConfig
from trainer.frozen import KERNELS, Frozen
from trainer.pixels import normalise
from trainer.probing.cells import Layers
from trainer.stream.transfer import sent


@dataclass(frozen=True)
class Reader:
    """A trunk, and the blocks that are read of it."""

    frozen: Frozen
    windows: Sequence[Layers]
    config: ComputeConfig
    device: torch.device

    def features(self, images: Tensor, rows: Tensor | None = None) -> list[Tensor]:
        """(B, K, D) float32 of each window, from uint8 images (n, 3, H, W): of all, or of the rows
        (B,) int64. The trunk takes them in micro-batches; what it gives is held whole."""
        if rows is not None and len(rows) < len(images):
            images = images[sent(rows, images.device)]
        shape = (len(images), self.frozen.model.config.num_patches, self.frozen.width)
        features = [torch.empty(shape, device=self.device) for _ in self.windows]
        parts = [x.chunk(self.config.micro_batches) for x in (images, *features)]
        for some, *places in zip(*parts, strict=True):
            with compute.autocast(self.config, self.device):
                found = self.frozen.windows(normalise(some, self.device), self.windows)
            for place, window in zip(places, found, strict=True):
                place.copy_(window)
        return features

    @property
    def flops(self) -> float:
        """Of an image, up to the highest block that is read."""
        shape, highest = self.frozen.model.config, max(map(max, self.windows))
        whole = flops.image_flops(shape, kernel=KERNELS[self.frozen.sees])
        return whole.embedding + (whole.trunk + whole.attention) * (highest + 1) / shape.depth


def flaws(features: Sequence[Tensor], rows: Tensor, images: int) -> Tensor:
    """1 for each of the images that is among the rows and whose features are not finite, else 0:
    (images,) float32."""
    finite = torch.stack([x.sum(dim=(1, 2)).isfinite() for x in features]).all(dim=0)
    found = torch.zeros(images, device=finite.device)
    found[sent(rows, finite.device)] = (~finite).float()
    return found
