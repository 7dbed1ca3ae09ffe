"""The head with attention: the MLP head's parts around the trunk's blocks (AIM table 3e)."""

from torch import Tensor, nn

from trainer.model.attending.choose import Seen
from trainer.model.heads.rows import scored
from trainer.model.layers import LayerNorm
from trainer.model.positions import GridPosition
from trainer.model.sizes import ModelConfig
from trainer.model.trunk import Block


class TransformerHead(nn.Module):
    """Projection, position code, transformer blocks, norm, prediction.

    It sees what the trunk sees, so the future does not leak. Its attention heads are as wide as
    the trunk's (128 channels in all of AIM table 1): the paper says only that the block is the
    same, and so one attention kernel serves both. All positions are keys, so only what follows
    the blocks can leave out the rows that are not scored.
    """

    def __init__(self, config: ModelConfig, outputs: int, order: str):
        super().__init__()
        width, eps = config.head_width, config.norm_eps
        self.decoder_projection = nn.Linear(config.embed_dim, width)
        self.position = GridPosition(width, config.grid_size, order)
        self.decoder_blocks = nn.ModuleList(
            Block(width, width // config.head_dim, config.mlp_ratio, eps)
            for _ in range(config.head_depth)
        )
        self.decoder_norm = LayerNorm(width, eps=eps)
        self.decoder_pred = nn.Linear(width, outputs)

    def forward(self, features: Tensor, seen: Seen, rows: Tensor | None = None) -> Tensor:
        """(B, K, D) → (B, K, P), or (M, P) of the `rows` (M,)."""
        x = self.position(self.decoder_projection(features))
        for block in self.decoder_blocks:
            x = block(x, seen)
        return self.decoder_pred(self.decoder_norm(scored(x, rows)))
