"""No head: a single linear from the trunk's output to the next patch (AIM table 3e)."""

from torch import Tensor, nn

from trainer.model.attending.choose import Seen
from trainer.model.heads.rows import scored
from trainer.model.sizes import ModelConfig


class NoHead(nn.Module):
    """The prediction alone, under the name that it has in the other heads."""

    def __init__(self, config: ModelConfig, outputs: int, order: str):
        super().__init__()
        self.decoder_blocks = nn.ModuleList()
        self.decoder_pred = nn.Linear(config.embed_dim, outputs)

    def forward(self, features: Tensor, seen: Seen, rows: Tensor | None = None) -> Tensor:
        """(B, K, D) → (B, K, P), or (M, P) of the `rows` (M,)."""
        return self.decoder_pred(scored(features, rows))
