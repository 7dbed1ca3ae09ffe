"""The paper's head: from each feature to the next patch, and patches do not see each other.

Module names are those of the training code (apple/ml-l3m, model/heads/simple_decoder.py).
"""

from torch import Tensor, nn

from trainer.model.attending.choose import Seen
from trainer.model.heads.rows import scored
from trainer.model.layers import MLP, LayerNorm, run
from trainer.model.positions import GridPosition
from trainer.model.sizes import ModelConfig


class MLPBlock(nn.Module):
    """An MLP block: patches do not see each other in the head (AIM §4.2).

    The official one is a transformer block whose attention is the identity, so it
    first adds `norm_1(x)`; the plain one has no `norm_1`.
    """

    recompute: bool = False
    """As that of the trunk's blocks."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width, eps = config.head_width, config.norm_eps
        self.norm_1 = LayerNorm(width, eps=eps) if config.head_block == "official" else None
        self.norm_2 = LayerNorm(width, eps=eps)
        self.mlp = MLP(width, config.mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """(..., head_width) → the same."""
        return run(self._forward, self.recompute, x)

    def _forward(self, x: Tensor) -> Tensor:
        if self.norm_1 is not None:
            x = x + self.norm_1(x)
        return x + self.mlp(self.norm_2(x))


class MLPHead(nn.Module):
    """Projection, position code, MLP blocks, norm, prediction (AIM §4.2, table 4).

    All of it runs on the scored rows only: half of them on average.
    """

    def __init__(self, config: ModelConfig, outputs: int, order: str):
        super().__init__()
        width = config.head_width
        self.decoder_projection = nn.Linear(config.embed_dim, width)
        self.position = GridPosition(width, config.grid_size, order)
        self.decoder_blocks = nn.ModuleList(MLPBlock(config) for _ in range(config.head_depth))
        self.decoder_norm = LayerNorm(width, eps=config.norm_eps)
        self.decoder_pred = nn.Linear(width, outputs)

    def forward(self, features: Tensor, seen: Seen, rows: Tensor | None = None) -> Tensor:
        """(B, K, D) → (B, K, P), or (M, P) of the `rows` (M,)."""
        x = self.position(self.decoder_projection(scored(features, rows)), rows)
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))
