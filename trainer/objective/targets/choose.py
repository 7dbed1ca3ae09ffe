"""Which target a config names, and what all of them do."""

from typing import Protocol

from torch import Tensor

from trainer.model.sizes import ModelConfig
from trainer.objective.config import TargetConfig
from trainer.objective.targets.kmeans import read_codebook
from trainer.objective.targets.pixels import Pixels
from trainer.objective.targets.tokens import read_tokenizer


class Target(Protocol):
    """What is predicted of a patch.

    `images` are (B, 3, H, W), normalised like the model's input; `wanted` (M,) numbers patches of
    them, b·K + cell.
    """

    @property
    def outputs(self) -> int:
        """Values that a model predicts of each patch."""

    @property
    def digest(self) -> str:
        """SHA-256 of the file that decides the targets; empty if none does."""

    def wanted_values(self, images: Tensor, wanted: Tensor) -> Tensor:
        """The truth about the wanted patches: M rows."""

    def losses(self, predictions: Tensor, values: Tensor) -> Tensor:
        """What predictions (M, outputs) cost, (M,) at least float32."""

    def paint(self, predictions: Tensor, images: Tensor, wanted: Tensor) -> Tensor:
        """Patches (M, 3 · patch²) that predictions mean, in the units of the images."""


def choose(config: TargetConfig, shape: ModelConfig) -> Target:
    """The target of a config. Raises HeadraceError if its file cannot be used."""
    if config.kind == "kmeans":
        return read_codebook(config.codebook or "", shape.patch_size)
    if config.kind == "tokens":
        return read_tokenizer(config, shape)
    return Pixels(shape.patch_size, normalised=config.kind == "pixels_norm")
