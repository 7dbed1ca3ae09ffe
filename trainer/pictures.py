"""What the model sees coming: images, what is shown of them, what it predicts, and its error."""

import io
import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from pipeline.format import writing
from trainer.objective import fixed
from trainer.objective.objective import Objective
from trainer.objective.targets.patches import patchify, unpatchify
from trainer.pixels import denormalise

SCALE = 2
"""Pictures are drawn this much larger: a 64-pixel image is small on a screen."""

HIDDEN = 0.0
"""What is drawn in place of a patch that is not shown: the mean colour, a grey."""

WHITE_HOT = 0.5
"""The error that is drawn white, as a part of the range of pixels; the same in every picture."""


@torch.no_grad()
def draw(model: nn.Module, objective: Objective, images: Tensor) -> Tensor:
    """Four pictures of each image (n, 3, H, W): (4, n, 3, H, W) uint8.

    The image; what the model is shown of it, its prefix or what is not masked; the same with the
    rest predicted, each next patch from all true ones before it; and the absolute error. Models
    predict patches without their mean and contrast: those of the true patch are given back to them.
    """
    task = fixed.pictured(objective, len(images)).to(images.device)
    predictions = model(images, task.prefix, task.rows, task.masked)
    painted = objective.target.paint(predictions, images, task.wanted)
    grid = math.isqrt(objective.patches)
    patches = patchify(images, images.shape[-1] // grid)
    flat = patches.flatten(0, 1)
    shown = flat.index_fill(0, task.wanted, HIDDEN).view_as(patches)
    predicted = flat.index_copy(0, task.wanted, painted.to(flat)).view_as(patches)
    pictures = [
        denormalise(x) for x in (images, unpatchify(shown, grid), unpatchify(predicted, grid))
    ]
    return torch.stack([*pictures, _heat(pictures[0], pictures[2])])


def _heat(true: Tensor, predicted: Tensor) -> Tensor:
    """Errors (n, 3, H, W) uint8: none is black, then red, yellow and white."""
    error = (true.float() - predicted.float()).abs().mean(dim=1, keepdim=True) / (255 * WHITE_HOT)
    colours = [(3 * error - channel).clamp(0, 1) for channel in range(3)]
    return (torch.cat(colours, dim=1) * 255).round().to(torch.uint8)


def save_grid(path: Path, pictures: Tensor) -> None:
    """Writes a PNG of pictures (rows, n, 3, H, W) uint8."""
    rows, n, channels, height, width = pictures.shape
    grid = pictures.permute(0, 3, 1, 4, 2).reshape(rows * height, n * width, channels)
    picture = Image.fromarray(grid.cpu().numpy())
    size = (picture.width * SCALE, picture.height * SCALE)
    png = io.BytesIO()
    picture.resize(size, Image.Resampling.NEAREST).save(png, "PNG")
    writing.publish(str(path), png.getvalue())
