"""Images as patches, and back.

Shapes: B images, K patches, P = 3 · patch² pixel values in a patch, by (row, column, channel).
"""

import math

import torch
from torch import Tensor

from trainer.model.layers import at_least_float32

VARIANCE_EPS = 1e-6
"""Added to the variance of a patch (apple/ml-l3m, loss/mae_loss.py)."""


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images (B, C, H, W) into patches (B, K, P), row by row.

    Raises ValueError if the patches do not fill the image.
    """
    B, C, H, W = images.shape
    if H % patch_size or W % patch_size:
        raise ValueError(f"patches of {patch_size} do not fill an image of {H} x {W}")
    rows, columns = H // patch_size, W // patch_size
    x = images.reshape(B, C, rows, patch_size, columns, patch_size)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(B, rows * columns, patch_size**2 * C)


def unpatchify(patches: Tensor, grid: int) -> Tensor:
    """Patches (B, K, P) of a square grid back to images (B, 3, H, W)."""
    B, _, P = patches.shape
    side = math.isqrt(P // 3)
    x = patches.reshape(B, grid, grid, side, side, 3)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(B, 3, grid * side, grid * side)


def take(images: Tensor, patch_size: int, cells: Tensor) -> Tensor:
    """The patches (M, P) that `cells` (M,) numbers through the whole batch, at least float32."""
    return at_least_float32(patchify(images, patch_size).flatten(0, 1)[cells])


def standardise(patches: Tensor) -> Tensor:
    """Patches (..., P), each with mean 0 and deviation 1 over all its values.

    The variance is the unbiased one (n - 1), as in the training code.
    """
    mean, deviation = statistics(patches)
    return (patches - mean) / deviation


def statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each patch (..., P), both (..., 1)."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return mean, (variance + VARIANCE_EPS).sqrt()
