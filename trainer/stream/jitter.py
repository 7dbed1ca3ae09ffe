"""Colour jitter on tensors, in batches: in Pillow it costs as much as decoding the image.

The four steps are torchvision's, in an order and with factors that the sample's key draws. All of
it goes image by image and without sums of floats, so an image's bits do not depend on its batch.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.stream.augment import JitterConfig
from trainer.stream.batch import Batch
from trainer.stream.keyed import base_key, mix, uniforms
from trainer.stream.transfer import sent

Draws = npt.NDArray[np.float64]
"""Numbers in [0, 1), (n, 9): whether to change the image, four factors, and four for the order."""

GREY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in torchvision's grey (ITU-R BT.601)."""

CACHED = 16
"""Images that a processor changes at once: in floats, these stay in its cache, a batch does not,
and takes twice as long."""


def jittered(batch: Batch, names: Sequence[str], seed: int, config: JitterConfig | None) -> Tensor:
    """The batch's images with changed colours: uint8 (n, 3, h, w), on the images' device.

    Drawn by (seed, source name, epoch, sample), so a resume on other ranks changes them alike.
    Without a config they are the images themselves.
    """
    if config is None:
        return batch.images
    sources, epochs, samples = (
        column.numpy() for column in (batch.sources, batch.epochs, batch.samples)
    )
    purposes = np.array([base_key(seed, "jitter", name) for name in names], np.uint64)
    return jitter(batch.images, uniforms(mix(purposes[sources], epochs, samples), 9), config)


def jitter(images: Tensor, draws: Draws, config: JitterConfig) -> Tensor:
    """uint8 (n, 3, h, w) to the same with changed colours."""
    images = images.clone()
    if images.device.type != "cpu":
        _change(images, draws, config)
        return images
    with _one_thread():
        for at in range(0, len(images), CACHED):
            _change(images[at : at + CACHED], draws[at : at + CACHED], config)
    return images


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Torch's threads meet after every small step; where the cores are busy decoding, that makes
    all of it several times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _change(images: Tensor, draws: Draws, config: JitterConfig) -> None:
    factors = _factors(draws[:, 1:5], config)
    order = draws[:, 5:].argsort(axis=1)
    order[draws[:, 0] >= config.probability] = len(STEPS)  # no step at all
    for place in range(len(STEPS)):
        for number, (field, step) in enumerate(STEPS.items()):
            chosen = np.flatnonzero(order[:, place] == number)
            if len(chosen) and getattr(config, field):
                rows = sent(torch.from_numpy(chosen), images.device)
                images[rows] = step(images[rows], torch.from_numpy(factors[chosen, number]))


def _factors(draws: Draws, config: JitterConfig) -> Draws:
    """(n, 4): of brightness, contrast and saturation around 1, of hue around 0."""
    spread = np.array([getattr(config, field) for field in STEPS])
    return np.array([1.0, 1.0, 1.0, 0.0]) + spread * (2 * draws - 1)


def brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Towards black at 0."""
    return _blend(images, torch.zeros_like(images), factors)


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Towards the image's mean grey at 0."""
    grey = _grey(images)
    mean = grey.sum(dim=(1, 2, 3), dtype=torch.int64).double() / grey[0].numel()
    return _blend(images, _column(mean, images), factors)


def saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Towards grey at 0."""
    return _blend(images, _grey(images), factors)


def hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turned around the colour circle: 0.5 is the other side. Value and saturation stay."""
    rgb = images.float() / 255
    red, green, blue = rgb.unbind(dim=1)  # each (n, h, w)
    top = rgb.amax(dim=1)
    spread = top - rgb.amin(dim=1)
    divisor = torch.where(spread == 0, 1, spread)
    sixths = torch.where(top == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor)
    sixths = torch.where(top == red, (green - blue) / divisor, sixths)
    turned = sixths + _column(6 * turns, images)[:, 0]
    channels = [_channel(turned + offset, top, spread) for offset in (5, 3, 1)]
    return (torch.stack(channels, dim=1).clamp(0, 1) * 255.999).to(torch.uint8)


def _channel(sixths: Tensor, top: Tensor, spread: Tensor) -> Tensor:
    """A channel of colours whose hue is so many sixths of the circle before it."""
    place = sixths - 6 * (sixths / 6).floor()
    return top - spread * torch.minimum(place, 4 - place).clamp(0, 1)


STEPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
    "hue": hue,
}
"""By the field of the config that is their range."""


def _blend(images: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    """`factors` (float64, (n,)) of the images and the rest of the other; above 1 away from it."""
    mixed = _column(factors, images) * images + _column(1 - factors, images) * other
    return mixed.clamp(0, 255).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """uint8 (n, 3, h, w) to uint8 (n, 1, h, w)."""
    red, green, blue = (images[:, n : n + 1] * weight for n, weight in enumerate(GREY))
    return (red + green + blue).to(torch.uint8)


def _column(values: Tensor, images: Tensor) -> Tensor:
    """One number for each image, as float32 (n, 1, 1, 1) beside them."""
    return sent(values.float(), images.device)[:, None, None, None]
