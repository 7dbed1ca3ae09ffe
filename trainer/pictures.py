"""What the model sees coming: predicted next patches beside the images."""

import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from pipeline.format import writing
from trainer.objective import VARIANCE_EPS, patchify
from trainer.pixels import denormalise

SCALE = 2
"""Pictures are drawn this much larger: a 64-pixel image is small on a screen."""


def unpatchify(patches: Tensor, grid: int) -> Tensor:
    """Patches (B, K, P) in (row, column, channel) order back to images (B, 3, H, W)."""
    B, _, P = patches.shape
    side = int((P // 3) ** 0.5)
    x = patches.reshape(B, grid, grid, side, side, 3)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(B, 3, grid * side, grid * side)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, patch_size: int) -> Tensor:
    """Images (B, 3, H, W) whose patch i + 1 is predicted from the true patches 0 to i.

    The model predicts patches without their mean and contrast; those of the true patch are given
    back to it. The first patch, which nothing predicts, is the true one.
    """
    patches = patchify(images, patch_size)  # (B, K, P)
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    causal = torch.ones(len(images), dtype=torch.int64, device=images.device)
    predicted = model(images, causal)[:, :-1] * (variance + VARIANCE_EPS).sqrt()[:, 1:]
    shown = torch.cat([patches[:, :1], predicted + mean[:, 1:]], dim=1)
    return unpatchify(shown, images.shape[-1] // patch_size)


def save_grid(path: Path, images: Tensor, predictions: Tensor) -> None:
    """Writes a PNG of two rows: the images, and below each its predictions."""
    rows = [torch.cat(list(denormalise(row).cpu()), dim=2) for row in (images, predictions)]
    grid = torch.cat(rows, dim=1).permute(1, 2, 0).numpy()  # (2H, B·W, 3)
    picture = Image.fromarray(grid)
    size = (picture.width * SCALE, picture.height * SCALE)
    png = io.BytesIO()
    picture.resize(size, Image.Resampling.NEAREST).save(png, "PNG")
    writing.publish(str(path), png.getvalue())
