"""The two small layers that the trunk and the pixel head share."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
