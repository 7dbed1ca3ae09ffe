"""Mean and variance of the features of a whole batch, whichever ranks hold it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from trainer import distributed


class Statistics(NamedTuple):
    """Of one batch, over all ranks."""

    images: Tensor
    """(), float32."""
    means: Tensor
    """(windows, D), float32."""
    variances: Tensor
    """(windows, D), float32, biased."""


def statistics(features: Sequence[Tensor]) -> Statistics:
    """Over images and patches of (B, K, D) for each window; B may be 0 on a rank, and differ.

    One collective call. In float64: residual streams have channels whose mean is a thousand times
    their deviation.
    """
    shares = torch.stack([sums(x) for x in features])  # (windows, 3, D)
    images = shares.new_full((1, *shares.shape[1:]), len(features[0]))
    *summed, images = distributed.total(torch.cat([shares, images]))
    count, first, second = torch.stack(summed).unbind(1)
    means = first / count
    variances = (second / count - means**2).clamp(min=0)
    return Statistics(images.flatten()[0].float(), means.float(), variances.float())


def sums(x: Tensor) -> Tensor:
    """Of (B, K, D): tokens, and their sums and sums of squares in each channel, (3, D) float64."""
    tokens = x.flatten(0, 1)
    if not len(tokens):
        return torch.zeros(3, x.shape[2], dtype=torch.float64, device=x.device)
    variance, mean = (one.double() for one in torch.var_mean(tokens, dim=0, correction=0))
    means = torch.stack([torch.ones_like(mean), mean, variance + mean**2])
    return len(tokens) * means
