"""A boolean mask, built once a forward: the plain kernel, which the tests hold others against."""

import torch
from torch import Tensor
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


prepare = prefix_mask


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Torch picks the backend: on CUDA any but flash attention, which takes no mask."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
