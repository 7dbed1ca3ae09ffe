"""What one would otherwise use: timm's and torch's own blocks, and the head on every patch.

All are called as an AIM is, so that the trainer's own step drives them: loss, clip and optimiser
are the same code, and what is left to differ is the model.
"""

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from trainer.model.heads.choose import HEADS
from trainer.model.layers import at_least_float32
from trainer.model.sizes import CHANNELS, ModelConfig


class Plain(nn.Module):
    """A trunk of someone else's below our head. It sees what it sees, whatever the prefix."""

    def __init__(self, trunk: nn.Module, config: ModelConfig):
        super().__init__()
        self.trunk = trunk
        self.head = HEADS[config.head_kind](config, config.patch_dim, "raster")

    def forward(
        self, images: Tensor, prefix: Tensor, rows: Tensor | None = None, masked: None = None
    ) -> Tensor:
        """As AIM's."""
        return at_least_float32(self.head(self.trunk(images), None, rows))


class Dense(nn.Module):
    """The same model, whose head predicts every patch, scored or not, as the public code does."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, prefix: Tensor, rows: Tensor, masked: None = None) -> Tensor:
        """As AIM's, the same numbers."""
        return self.model(images, prefix, None, masked).flatten(0, 1).index_select(0, rows)


def timm_trunk(config: ModelConfig) -> nn.Module:
    """timm's plain ViT with its defaults, and a token for each patch: (B, 3, H, W) → (B, K, D).

    Its attention is bidirectional, without a mask.
    """
    return VisionTransformer(
        img_size=config.image_size,
        patch_size=config.patch_size,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        num_classes=0,
        global_pool="",
        class_token=False,
    )


class TorchTrunk(nn.Module):
    """torch's own blocks, with causal attention: (B, 3, H, W) → (B, K, D)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width, patch, patches = config.embed_dim, config.patch_size, config.num_patches
        self.embed = nn.Conv2d(CHANNELS, width, patch, patch)
        self.position = nn.Parameter(0.02 * torch.randn(1, patches, width))
        block = nn.TransformerEncoderLayer(
            width,
            config.num_heads,
            config.mlp_ratio * width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        norm = nn.LayerNorm(width)
        self.blocks = nn.TransformerEncoder(block, config.depth, norm, enable_nested_tensor=False)
        mask = nn.Transformer.generate_square_subsequent_mask(patches)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, K, D)."""
        x = self.embed(images).flatten(2).transpose(1, 2) + self.position
        return self.blocks(x, self.mask, is_causal=True)
