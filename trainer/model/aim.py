"""AIM: an autoregressive image model (El-Nouby et al., arXiv 2401.08541).

Shapes: B images, K patches, D trunk width, P pixel values in a patch.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainer.model.head import PixelHead
from trainer.model.init import assign, initial_value
from trainer.model.layers import at_least_float32
from trainer.model.positions import GridPosition
from trainer.model.sizes import CHANNELS, ModelConfig
from trainer.model.trunk import Preprocessor, Trunk


class AIM(nn.Module):
    """Predicts, from every patch and what it sees, the pixels of the next one.

    A big model is built without memory, then given some, then filled:

        with torch.device("meta"):
            model = AIM(config)
        # fully_shard(...) goes here
        model.materialise("cuda")
        model.init_weights(generator)  # or load a checkpoint

    Under autocast the residual stream stays float32; under FSDP2 mixed precision
    it has the blocks' parameter dtype.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.preprocessor = Preprocessor(config)
        self.trunk = Trunk(config)
        self.pixel_head = PixelHead(config)

    def features(self, images: Tensor, prefix: Tensor) -> Tensor:
        """Trunk output after its last norm, (B, K, D); arguments as for `forward`.

        On a sharded model, register it first: `register_fsdp_forward_method(model, "features")`.
        """
        self._check(images, prefix)
        return self.trunk(self.preprocessor(images), prefix)

    def forward(self, images: Tensor, prefix: Tensor) -> Tensor:
        """Predictions (B, K, P) in float32; number i is about patch i + 1.

        images: (B, 3, H, W) float, mean and deviation normalised. prefix: (B,) int64,
        1 (causal) to K (bidirectional); its values are not checked, to spare the device
        a wait. Raises ValueError on other shapes.
        """
        return at_least_float32(self.pixel_head(self.features(images, prefix)))

    def blocks(self) -> list[nn.Module]:
        """The modules to shard, checkpoint or compile one by one, in the order they run."""
        return [*self.trunk.blocks, *self.pixel_head.decoder_blocks]

    def materialise(self, device: torch.device | str) -> None:
        """Give a model built on the meta device memory: NaN parameters, real buffers.

        NaN, so that a parameter that is then neither drawn nor loaded shows at once.
        """
        self.to_empty(device=device)
        for parameter in self.parameters():
            nn.init.constant_(parameter, float("nan"))
        self.reset_buffers()

    def reset_buffers(self) -> None:
        """Recompute the position codes, which no state dict carries."""
        for module in self.modules():
            if isinstance(module, GridPosition):
                module.reset_buffers()

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw every parameter anew (rules in `init.py`) and recompute the buffers.

        The values depend on the generator alone, not on the model's device or sharding:
        every rank draws whole tensors from an equal generator and keeps its piece.
        """
        for name, parameter in self.named_parameters():
            assign(parameter, initial_value(name, parameter.shape, generator))
        self.reset_buffers()

    def _check(self, images: Tensor, prefix: Tensor) -> None:
        size = self.config.image_size
        if images.shape[1:] != (CHANNELS, size, size):
            raise ValueError(
                f"images must be (B, {CHANNELS}, {size}, {size}), not {tuple(images.shape)}"
            )
        if prefix.shape != images.shape[:1]:
            raise ValueError(f"prefix must be ({len(images)},), not {tuple(prefix.shape)}")


class ParameterCount(NamedTuple):
    """Parameters by part of the model."""

    patch_embed: int
    """The patch convolution and its norm."""
    trunk: int
    """The blocks and the last norm."""
    pixel_head: int
    """What is thrown away after pre-training."""

    @property
    def backbone(self) -> int:
        """What is kept after pre-training, and what a model's name counts."""
        return self.patch_embed + self.trunk


def count_parameters(config: ModelConfig) -> ParameterCount:
    """Count on the meta device: no memory, whatever the size."""
    with torch.device("meta"):
        model = AIM(config)
    parts = model.preprocessor, model.trunk, model.pixel_head
    return ParameterCount(*(sum(p.numel() for p in part.parameters()) for part in parts))
