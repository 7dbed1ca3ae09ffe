"""Prefix attention: the first patches see each other, the rest only look back."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def prefix_mask(prefix: Tensor, length: int) -> Tensor:
    """Which keys each query sees: (B, 1, K, K) bool, from prefix lengths (B,) int64.

    Key j is visible to query i when j < S or j <= i (AIM §4.2, figure 3). S = 1 is
    plain causal attention, S = K is bidirectional.
    """
    place = torch.arange(length, device=prefix.device)
    causal = place[None, :] <= place[:, None]  # (query, key)
    in_prefix = place < prefix[:, None]  # (B, key)
    return (causal | in_prefix[:, None, :]).unsqueeze(1)


def prefix_attention(q: Tensor, k: Tensor, v: Tensor, prefix: Tensor) -> Tensor:
    """Scaled dot-product attention under `prefix_mask`.

    q, k, v: (B, heads, K, head_dim); prefix: (B,) int64; returns the shape and dtype of v.
    """
    mask = prefix_mask(prefix, q.shape[-2])
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class Attention(nn.Module):
    """Multi-head prefix attention without biases (AIM release)."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        # Rows of qkv: all of q, then k, then v; heads are contiguous inside each.
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, prefix: Tensor) -> Tensor:
        """(B, K, D) and prefix lengths (B,) int64 → (B, K, D)."""
        split = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))  # (B, K, 3, heads, head_dim)
        q, k, v = split.permute(2, 0, 3, 1, 4)  # each (B, heads, K, head_dim)
        mixed = prefix_attention(q, k, v, prefix)
        return self.proj(mixed.transpose(1, 2).flatten(2))
