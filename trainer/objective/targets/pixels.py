"""Pixels as targets: those of the model's input, with or without each patch's mean and contrast."""

from dataclasses import dataclass

from torch import Tensor

from trainer.model.layers import at_least_float32
from trainer.objective.targets.patches import standardise, statistics, take


@dataclass(frozen=True)
class Pixels:
    """The pixels of a patch; the loss is the mean of their squared errors."""

    patch_size: int
    normalised: bool
    digest: str = ""

    @property
    def outputs(self) -> int:
        """P."""
        return 3 * self.patch_size**2

    def wanted_values(self, images: Tensor, wanted: Tensor) -> Tensor:
        """(M, P)."""
        patches = take(images, self.patch_size, wanted)
        return standardise(patches) if self.normalised else patches

    def losses(self, predictions: Tensor, values: Tensor) -> Tensor:
        """(M, P), twice → (M,)."""
        return (at_least_float32(predictions) - values).square().mean(dim=-1)

    def paint(self, predictions: Tensor, images: Tensor, wanted: Tensor) -> Tensor:
        """(M, P) in the units of the images; the true patch lends its mean and contrast."""
        if not self.normalised:
            return predictions
        mean, deviation = statistics(take(images, self.patch_size, wanted))
        return predictions * deviation + mean
