"""The loss: from what it has seen, predict the pixels of the next patch.

Shapes: B images, K patches, P = 3 · patch² pixel values in a patch.
"""

import math

import torch
from torch import Tensor

from trainer.model.layers import at_least_float32

VARIANCE_EPS = 1e-6
"""Added to the variance of a patch (apple/ml-l3m, loss/mae_loss.py)."""


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images (B, C, H, W) into patches (B, K, P), row by row.

    Values inside a patch are in (row, column, channel) order. Raises ValueError if the
    patches do not fill the image.
    """
    B, C, H, W = images.shape
    if H % patch_size or W % patch_size:
        raise ValueError(f"patches of {patch_size} do not fill an image of {H} x {W}")
    rows, columns = H // patch_size, W // patch_size
    x = images.reshape(B, C, rows, patch_size, columns, patch_size)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(B, rows * columns, patch_size**2 * C)


def normalised_targets(images: Tensor, patch_size: int) -> Tensor:
    """Patches (B, K, P) in float32, each with mean 0 and deviation 1 over all its values.

    The variance is the unbiased one (n - 1), as in the training code.
    """
    patches = at_least_float32(patchify(images, patch_size))
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (variance + VARIANCE_EPS).sqrt()


def loss_sum_and_count(
    predictions: Tensor, images: Tensor, prefix: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum of the counted patches' mean squared errors, and how many there are.

    predictions: (B, K, P), number i about patch i + 1. images: (B, 3, H, W), normalised
    like the model's input. prefix: (B,) int64. Returns scalars, float32 and int64.

    Counted are the targets i >= S, from 1 on: nothing predicts the first patch (AIM
    §4.2). The loss to descend is sum / count over the whole batch of all ranks and
    micro-steps, not a mean of means. S = 1 counts K - 1 targets: the validation loss.
    Raises ValueError if predictions and images disagree about the patches.
    """
    _, K, P = predictions.shape
    targets = normalised_targets(images, math.isqrt(P // images.shape[1]))
    if targets.shape != predictions.shape:
        raise ValueError(
            f"predictions {tuple(predictions.shape)} for patches {tuple(targets.shape)}"
        )
    error = at_least_float32(predictions[:, :-1]) - targets[:, 1:]  # (B, K-1, P)
    per_patch = error.square().mean(dim=-1)  # (B, K-1)
    counted = torch.arange(1, K, device=prefix.device) >= prefix[:, None]  # (B, K-1)
    return torch.where(counted, per_patch, 0).sum(), counted.sum()
