"""From pixels to features: patch embedding and transformer blocks.

Module names are those of the released weights (apple/ml-aim), so that state dicts map
one to one: `preprocessor.patchifier.*` and `trunk.*`.
"""

import torch
from torch import Tensor, nn

from trainer.model.attending.choose import Seen
from trainer.model.attention import Attention
from trainer.model.layers import MLP, LayerNorm, run
from trainer.model.orders import Arrange
from trainer.model.positions import GridPosition
from trainer.model.sizes import CHANNELS, ModelConfig


class PatchEmbed(nn.Module):
    """A linear map of each patch, as a strided convolution with bias, then a norm."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        p = config.patch_size
        self.proj = nn.Conv2d(CHANNELS, config.embed_dim, kernel_size=p, stride=p)
        self.norm = LayerNorm(config.embed_dim, eps=config.norm_eps)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, K, D), patches row by row."""
        return self.norm(self.proj(images).flatten(2).transpose(1, 2))


class Preprocessor(nn.Module):
    """Patch tokens in the sequence of an order, plus their position code. No class token (§4.2).

    With `mask_token`, tokens can be hidden: a learned one stands in for them, as in BEiT.
    """

    mask_token: nn.Parameter | None

    def __init__(self, config: ModelConfig, order: str = "raster", mask_token: bool = False):
        super().__init__()
        token = nn.Parameter(torch.zeros(1, 1, config.embed_dim)) if mask_token else None
        self.register_parameter("mask_token", token)
        self.patchifier = PatchEmbed(config)
        self.arrange = Arrange(order, config.grid_size)
        self.position = GridPosition(config.embed_dim, config.grid_size, order)

    def forward(self, images: Tensor, masked: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) → (B, K, D) in sequence order.

        masked: (B, K) bool over sequence positions, of a model that has a mask token.
        """
        x = self.arrange(self.patchifier(images))
        if masked is not None and self.mask_token is not None:
            x = torch.where(masked.unsqueeze(-1), self.mask_token.to(x.dtype), x)
        return self.position(x)


class Block(nn.Module):
    """A pre-norm transformer block: no biases, no dropout, no layer scale (AIM §4.2)."""

    recompute: bool = False
    """Keep the input only and run again in the backward pass: memory for a forward pass."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: int, eps: float):
        super().__init__()
        self.norm_1 = LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, num_heads)
        self.norm_2 = LayerNorm(dim, eps=eps)
        self.mlp = MLP(dim, mlp_ratio)

    def forward(self, x: Tensor, seen: Seen) -> Tensor:
        """(B, K, D) and what is seen → (B, K, D)."""
        return run(self._forward, self.recompute, x, seen)

    def _forward(self, x: Tensor, seen: Seen) -> Tensor:
        x = x + self.attn(self.norm_1(x), seen)
        return x + self.mlp(self.norm_2(x))


class Trunk(nn.Module):
    """The blocks and a last norm, whose output the head and the probes read."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(config.embed_dim, config.num_heads, config.mlp_ratio, config.norm_eps)
            for _ in range(config.depth)
        )
        self.post_trunk_norm = LayerNorm(config.embed_dim, eps=config.norm_eps)

    def forward(self, x: Tensor, seen: Seen) -> Tensor:
        """(B, K, D) and what is seen → (B, K, D)."""
        for block in self.blocks:
            x = block(x, seen)
        return self.post_trunk_norm(x)
