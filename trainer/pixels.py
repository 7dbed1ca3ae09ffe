"""Between stored pixels and the model's input."""

import functools

import torch
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in [0, 1], per channel (AIM training code)."""

Channels = tuple[float, ...]


def normalise(
    images: Tensor, device: torch.device, mean: Channels = MEAN, deviation: Channels = DEVIATION
) -> Tensor:
    """uint8 (B, 3, H, W) to float32 on `device`, with mean and deviation removed."""
    pixels = images.to(device).float() / 255
    return (pixels - _column(mean, device)) / _column(deviation, device)


def unit(images: Tensor) -> Tensor:
    """The inverse for ImageNet's figures: float (B, 3, H, W), stored pixels in [0, 1]."""
    return images * _column(DEVIATION, images.device) + _column(MEAN, images.device)


def denormalise(images: Tensor) -> Tensor:
    """The same as uint8, clipped."""
    return (unit(images) * 255).round().clamp(0, 255).to(torch.uint8)


@functools.cache
def _column(values: Channels, device: torch.device) -> Tensor:
    """Made once: to copy numbers of Python's to a GPU waits for it."""
    return torch.tensor(values, device=device)[:, None, None]
