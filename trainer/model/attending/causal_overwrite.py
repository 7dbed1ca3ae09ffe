"""Causal attention for all rows, then the prefix rows overwritten by attention over the prefix.

All shapes are static, so a compiled block has no graph break. The second pass costs
what the `mask` kernel costs alone: this pays only where torch runs a mask of keys much quicker
than a mask of pairs.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def prepare(prefix: Tensor, length: int) -> Tensor:
    """Which places are in the prefix: (B, K) bool."""
    return torch.arange(length, device=prefix.device) < prefix[:, None]


def attend(q: Tensor, k: Tensor, v: Tensor, in_prefix: Tensor) -> Tensor:
    """Row i of image b is the second pass's where `in_prefix[b, i]`."""
    causal = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    keys = in_prefix[:, None, None, :]
    return torch.where(
        in_prefix[:, None, :, None], F.scaled_dot_product_attention(q, k, v, attn_mask=keys), causal
    )
