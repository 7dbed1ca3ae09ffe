"""From pixels to features: patch embedding and transformer blocks.

Module names are those of the released weights (apple/ml-aim), so that state dicts map
one to one: `preprocessor.patchifier.*` and `trunk.*`.
"""

from torch import Tensor, nn

from trainer.model.attention import Attention
from trainer.model.layers import MLP, LayerNorm
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
    """Patch tokens plus their position code. No class token (AIM §4.2)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.patchifier = PatchEmbed(config)
        self.position = GridPosition(config.embed_dim, config.grid_size)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, K, D)."""
        return self.position(self.patchifier(images))


class Block(nn.Module):
    """A pre-norm transformer block: no biases, no dropout, no layer scale (AIM §4.2)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        dim = config.embed_dim
        self.norm_1 = LayerNorm(dim, eps=config.norm_eps)
        self.attn = Attention(dim, config.num_heads)
        self.norm_2 = LayerNorm(dim, eps=config.norm_eps)
        self.mlp = MLP(dim, config.mlp_ratio)

    def forward(self, x: Tensor, prefix: Tensor) -> Tensor:
        """(B, K, D) and prefix lengths (B,) int64 → (B, K, D)."""
        x = x + self.attn(self.norm_1(x), prefix)
        return x + self.mlp(self.norm_2(x))


class Trunk(nn.Module):
    """The blocks and a last norm, whose output the pixel head and the probes read."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.post_trunk_norm = LayerNorm(config.embed_dim, eps=config.norm_eps)

    def forward(self, x: Tensor, prefix: Tensor) -> Tensor:
        """(B, K, D) and prefix lengths (B,) int64 → (B, K, D)."""
        for block in self.blocks:
            x = block(x, prefix)
        return self.post_trunk_norm(x)
