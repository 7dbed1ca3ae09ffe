"""The pixel head: from each feature to the pixels of the next patch, patch by patch.

Module names are those of the training code (apple/ml-l3m). The head hangs on the model
as `pixel_head`, because `head` is the probe in released weights.
"""

from torch import Tensor, nn

from trainer.model.layers import MLP, LayerNorm
from trainer.model.positions import GridPosition
from trainer.model.sizes import ModelConfig


class HeadBlock(nn.Module):
    """An MLP block: patches do not see each other in the head (AIM §4.2).

    The official one is a transformer block whose attention is the identity, so it
    first adds `norm_1(x)`; the plain one has no `norm_1`.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        width, eps = config.head_width, config.norm_eps
        self.norm_1 = LayerNorm(width, eps=eps) if config.head_block == "official" else None
        self.norm_2 = LayerNorm(width, eps=eps)
        self.mlp = MLP(width, config.mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, head_width) → the same."""
        if self.norm_1 is not None:
            x = x + self.norm_1(x)
        return x + self.mlp(self.norm_2(x))


class PixelHead(nn.Module):
    """Projection, position code, MLP blocks, norm, prediction (AIM §4.2, table 4)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.decoder_projection = nn.Linear(config.embed_dim, config.head_width)
        self.position = GridPosition(config.head_width, config.grid_size)
        self.decoder_blocks = nn.ModuleList(HeadBlock(config) for _ in range(config.head_depth))
        self.decoder_norm = LayerNorm(config.head_width, eps=config.norm_eps)
        self.decoder_pred = nn.Linear(config.head_width, config.patch_dim)

    def forward(self, features: Tensor) -> Tensor:
        """(B, K, D) → (B, K, P)."""
        x = self.position(self.decoder_projection(features))
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))
