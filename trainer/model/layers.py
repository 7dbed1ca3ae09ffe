"""The small layers that the trunk and the heads share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


def at_least_float32(x: Tensor) -> Tensor:
    """Half precisions widened to float32; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class LayerNorm(nn.LayerNorm):
    """LayerNorm computed in float32 whatever the input, which its output is cast back to.

    As `LayerNormFP32` of the training code. float64 stays float64, for tests.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) → (..., D), same dtype."""
        weight, bias = at_least_float32(self.weight), at_least_float32(self.bias)
        return F.layer_norm(at_least_float32(x), self.normalized_shape, weight, bias, self.eps).to(
            x.dtype
        )


class MLP(nn.Module):
    """Two linears without biases around an exact GELU."""

    def __init__(self, dim: int, ratio: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, ratio * dim, bias=False)
        self.fc2 = nn.Linear(ratio * dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) → (..., D)."""
        return self.fc2(F.gelu(self.fc1(x)))


def run(forward: Callable[..., Tensor], recompute: bool, *inputs: Any) -> Tensor:
    """What `forward` makes of a block's inputs, with the same gradients whether recomputed or not.

    recompute: keep the inputs only and run again in the backward pass. That second run is inside
    the block, so under FSDP2 it finds the parameters gathered for the backward pass.

    A function that blocks call from a forward of their own, not a class that they share: torch
    keeps what it compiled with the code of `forward`, and the shapes of another kind of block
    would make it compile for shapes that vary.
    """
    if recompute and torch.is_grad_enabled():
        # Nothing in a block is random, so no generator needs to be put back.
        return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=False)
    return forward(*inputs)
