"""AIM: an autoregressive image model (El-Nouby et al., arXiv 2401.08541).

Shapes: B images, K patches, D trunk width, P values predicted of a patch, M scored rows.
A sequence position counts in the model's order; in raster order it is the patch's number.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainer.model.attending.choose import Seen, prepare
from trainer.model.heads.choose import HEADS
from trainer.model.init import assign, initial_value
from trainer.model.layers import at_least_float32
from trainer.model.orders import Arrange
from trainer.model.positions import GridPosition
from trainer.model.sizes import CHANNELS, ModelConfig
from trainer.model.trunk import Preprocessor, Trunk


class AIM(nn.Module):
    """Predicts, from every patch and what it sees, the next one.

    A big model is built without memory, then given some, then filled:

        with torch.device("meta"):
            model = AIM(config)
        # fully_shard(...) goes here
        model.materialise("cuda")
        model.init_weights(generator)  # or load a checkpoint

    Under autocast the residual stream stays float32, sharded or not (`distributed.shard`).
    """

    kernel: str = "auto"
    """How attention is computed: a name in `attending/choose.py`."""

    def __init__(
        self,
        config: ModelConfig,
        outputs: int | None = None,
        order: str = "raster",
        mask_token: bool = False,
    ):
        """P is `outputs`, or the pixel values of a patch; `order` is a name of `orders.py`.

        Raises ValueError if there is no such order.
        """
        super().__init__()
        self.config = config
        self.preprocessor = Preprocessor(config, order, mask_token)
        self.trunk = Trunk(config)
        self.pixel_head = HEADS[config.head_kind](config, outputs or config.patch_dim, order)

    def features(self, images: Tensor, prefix: Tensor, masked: Tensor | None = None) -> Tensor:
        """Trunk output after its last norm, (B, K, D), in sequence order; arguments as `forward`'s.

        On a sharded model, register it first: `register_fsdp_forward_method(model, "features")`.
        """
        self._check(images, prefix, None, masked)
        return self._features(images, self._seen(prefix), masked)

    def forward(
        self,
        images: Tensor,
        prefix: Tensor,
        rows: Tensor | None = None,
        masked: Tensor | None = None,
    ) -> Tensor:
        """Predictions in float32, (B, K, P), or (M, P) of the `rows`.

        Without masking, what is predicted at sequence position i is position i + 1.

        images: (B, 3, H, W) float, mean and deviation normalised. prefix: (B,) int64,
        1 (causal) to K (bidirectional). rows: (M,) int64, b * K + sequence position.
        masked: (B, K) bool over sequence positions, whose patches the trunk does not see.
        Values of prefix and rows are not checked, to spare the device a wait. Raises
        ValueError on other shapes, and if masked is given to a model without a mask token.
        """
        self._check(images, prefix, rows, masked)
        seen = self._seen(prefix)
        features = self._features(images, seen, masked)
        return at_least_float32(self.pixel_head(features, seen, rows))

    def blocks(self) -> list[nn.Module]:
        """The modules to shard, recompute or compile one by one, in the order they run."""
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
        """Recompute the position codes and the order, which no state dict carries."""
        for module in self.modules():
            if isinstance(module, GridPosition | Arrange):
                module.reset_buffers()

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw every parameter anew (rules in `init.py`) and recompute the buffers.

        The values depend on the generator alone, not on the model's device or sharding:
        every rank draws whole tensors from an equal generator and keeps its piece.
        """
        for name, parameter in self.named_parameters():
            assign(parameter, initial_value(name, parameter.shape, generator))
        self.reset_buffers()

    def _seen(self, prefix: Tensor) -> Seen:
        """Once a forward: what all blocks see."""
        return prepare(self.kernel, prefix, self.config.num_patches)

    def _features(self, images: Tensor, seen: Seen, masked: Tensor | None) -> Tensor:
        return self.trunk(self.preprocessor(images, masked), seen)

    def _check(
        self, images: Tensor, prefix: Tensor, rows: Tensor | None, masked: Tensor | None
    ) -> None:
        size = self.config.image_size
        if images.shape[1:] != (CHANNELS, size, size):
            raise ValueError(
                f"images must be (B, {CHANNELS}, {size}, {size}), not {tuple(images.shape)}"
            )
        if prefix.shape != images.shape[:1]:
            raise ValueError(f"prefix must be ({len(images)},), not {tuple(prefix.shape)}")
        if rows is not None and rows.ndim != 1:
            raise ValueError(f"rows must be (M,), not {tuple(rows.shape)}")
        sequence = (len(images), self.config.num_patches)
        if masked is not None and masked.shape != sequence:
            raise ValueError(f"masked must be {sequence}, not {tuple(masked.shape)}")
        if masked is not None and self.preprocessor.mask_token is None:
            raise ValueError("masked was given to a model that was built without a mask token")


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
