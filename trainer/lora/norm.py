"""The head's norm for features that learn: gradients flow through the batch's mean and variance.

The batch is that of all ranks, so what a rank's mean gives to another's loss comes back from there.
"""

from typing import Any

import torch
from torch import Tensor

from trainer import distributed
from trainer.probing.heads import EPS, Norm
from trainer.probing.statistics import sums


class _Summed(torch.autograd.Function):
    """The sum over ranks; its gradient is the sum of the ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return distributed.total(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return distributed.total(gradient)


def normalised(norm: Norm, x: Tensor) -> Tensor:
    """(B, K, D) without the mean and deviation of all ranks' tokens; the running averages move.

    Collective, forwards and backwards. Sums are float64, for `statistics.py`'s reason.
    """
    count, first, second = _Summed.apply(sums(x))
    mean = first / count
    variance = (second / count - mean**2).clamp(min=0)
    with torch.no_grad():
        norm.track(mean.float(), variance.float(), count[0].float())
    deviation = (variance.float() + EPS).sqrt()
    return (x - mean.float()) / deviation
