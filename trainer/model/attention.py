"""Multi-head attention; which patches see which is `attending`'s."""

from torch import Tensor, nn

from trainer.model.attending.choose import Seen, attend


class Attention(nn.Module):
    """Multi-head prefix attention without biases (AIM release)."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        # Rows of qkv: all of q, then k, then v; heads are contiguous inside each.
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, seen: Seen) -> Tensor:
        """(B, K, D) and what `attending.choose.prepare` made → (B, K, D)."""
        split = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))  # (B, K, 3, heads, head_dim)
        q, k, v = split.permute(2, 0, 3, 1, 4)  # each (B, heads, K, head_dim)
        return self.proj(attend(q, k, v, seen).transpose(1, 2).flatten(2))
