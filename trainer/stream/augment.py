"""Crops and flips, drawn by key: the same sample of the same epoch is always cropped alike."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, Field

from trainer.stream.keyed import base_key, mix, uniforms
from trainer.stream.plan import Slots

TRIES = 10
"""Boxes that are tried before the centre is taken, as torchvision does."""

EVALUATION_CROP = (224, 256)
"""The evaluation crop keeps 224 of 256 pixels of the shorter side (AIM release)."""

MAX_EVALUATED_ASPECT = 16
"""Longer images lose their ends first: 1 x 64 million pixels would become 256 x 16 billion."""

MAX_SQUASHED_ASPECT = 64
"""The same of whole images, as the scoring of filters cuts them: Pillow resizes the width first,
and would make 224 x 64 million of the same."""

Pixels = npt.NDArray[np.uint8]
Draws = npt.NDArray[np.float64]
"""Numbers in [0, 1): one for the flip, then four for each box that may be tried."""
Box = tuple[float, float, float, float]


class JitterConfig(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """Random changes of colour; the defaults are those of AIM's training code."""

    brightness: float = Field(default=0.4, ge=0, le=1)
    """Factors are from 1 - this to 1 + this."""

    contrast: float = Field(default=0.4, ge=0, le=1)
    """Factors are from 1 - this to 1 + this."""

    saturation: float = Field(default=0.2, ge=0, le=1)
    """Factors are from 1 - this to 1 + this."""

    hue: float = Field(default=0.1, ge=0, le=0.5)
    """Turns are from -this to this of the colour circle."""

    probability: float = Field(default=0.8, ge=0, le=1)
    """Share of the images that are changed."""


class RandConfig(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """RandAugment; the defaults are what timm calls rand-m9-mstd0.5-inc1, as AIMv2 probes with."""

    magnitude: float = Field(default=9, ge=0, le=10)
    """How strong an operation is on average; 10 is the most that there is."""

    spread: float = Field(default=0.5, ge=0)
    """Standard deviation of that strength, which is drawn anew for each operation."""

    count: int = Field(default=2, gt=0)
    """Operations that are drawn for an image; each is then applied to half of the images."""

    increasing: bool = True
    """All operations change more where the magnitude is larger. Without it posterise and solarise
    change less, and colours fade below a magnitude of 5 and glare above."""


class AugmentConfig(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """Random resized crop, flip and colours; the defaults are the paper's."""

    min_scale: float = Field(default=0.4, gt=0, le=1)
    """Least share of the image's area in a crop (AIM table 3c)."""

    max_aspect: float = Field(default=4 / 3, ge=1)
    """Crops are from 1 : this to this : 1."""

    whole: bool = False
    """Squash the whole image to the square and crop nothing, as a filter's scoring sees it (of one
    longer than 64 : 1 the middle): then `min_scale` and `max_aspect` mean nothing."""

    flip: bool = True
    """Mirror half of the images (AIM training code)."""

    draft: bool = False
    """Decode a JPEG at a part of its size where the crop needs no more. Quicker; other pixels."""

    jitter: JitterConfig | None = None
    """Random changes of colour. None, as in the paper; AIM's training code has them."""

    rand: RandConfig | None = Field(default=None, exclude_if=lambda found: found is None)
    """RandAugment of the crop, for probes. Needs timm. None, as in all of the pretraining."""


def crop_draws(slots: Slots, names: Sequence[str], seed: int) -> Draws:
    """The draws of each slot, (n, 1 + 4 · TRIES), by (seed, source name, epoch, sample)."""
    purposes = np.array([base_key(seed, "augment", name) for name in names], np.uint64)
    keys = mix(purposes[slots.source], slots.places.epoch, slots.places.sample)
    return uniforms(keys, 1 + 4 * TRIES)


def augment(
    image: Image.Image,
    size: int,
    draws: Draws,
    config: AugmentConfig,
    full: tuple[int, int] | None = None,
    scale: float = 1,
) -> Pixels:
    """A random crop of an RGB image, resized to (size, size, 3) uint8, flipped or not.

    An image that was decoded at `scale` of its `full` size gives the same part of the picture.
    """
    width, height = full or image.size
    left, top, right, bottom = random_box(width, height, draws[1:], config)
    box = (left * scale, top * scale, right * scale, bottom * scale)
    crop = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    if config.flip and draws[0] < 0.5:  # here, as a flipped view of the array is slow to copy
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(crop)


def random_box(width: int, height: int, draws: Draws, config: AugmentConfig) -> Box:
    """A box of random area and aspect inside the image, in pixels; `draws` are 4 a try."""
    if config.whole:
        return _largest_box(width, height, MAX_SQUASHED_ASPECT)
    limit = math.log(config.max_aspect)
    for u_area, u_aspect, u_left, u_top in draws.reshape(TRIES, 4).tolist():
        area = width * height * (config.min_scale + (1 - config.min_scale) * u_area)
        aspect = math.exp(limit * (2 * u_aspect - 1))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(u_left * (width - w + 1)), int(u_top * (height - h + 1))
            return (left, top, left + w, top + h)
    return _largest_box(width, height, config.max_aspect)


def _largest_box(width: int, height: int, max_aspect: float) -> Box:
    """The largest central box within the aspect limits, in whole pixels as torchvision's."""
    w, h = min(width, round(height * max_aspect)), min(height, round(width * max_aspect))
    left, top = (width - w) // 2, (height - h) // 2
    return (left, top, left + w, top + h)


def evaluation_view(image: Image.Image, size: int) -> Pixels:
    """The shorter side resized to 256/224 of `size`, then the centre: (size, size, 3) uint8.

    The pixels of torchvision's `Resize` and `CenterCrop` on PIL images, to the bit.
    """
    kept, of = EVALUATION_CROP
    image = _without_ends(image)
    short, shorter = size * of // kept, min(image.size)
    width, height = (side * short // shorter for side in image.size)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


def whole_view(image: Image.Image, size: int) -> Pixels:
    """All of it, squashed to (size, size, 3) uint8: what a crop of `AugmentConfig.whole` is."""
    box = _largest_box(*image.size, MAX_SQUASHED_ASPECT)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))


def _without_ends(image: Image.Image) -> Image.Image:
    """An image so long that resizing it whole would cost too much, cut to its middle."""
    longest = MAX_EVALUATED_ASPECT * min(image.size)
    if max(image.size) <= longest:
        return image
    width, height = min(image.width, longest), min(image.height, longest)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
