"""RandAugment by key: some of timm's operations on a crop, drawn by what the sample is.

timm itself draws from Python's and numpy's global generators, even within its table of levels. So
the operations are its own, and draws and levels are ours: no thread sees another's.
"""

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from PIL import Image
from timm.data.auto_augment import NAME_TO_OP

from trainer.pixels import MEAN
from trainer.stream.augment import Draws, Pixels, RandConfig
from trainer.stream.keyed import base_key, mix, uniforms

APPLIED = 0.5
"""Share of the images that get an operation which is drawn for them (timm's default)."""

MOST = 10
"""The largest magnitude: a level is its share of that (timm's scale)."""

FILL = tuple(round(255 * channel) for channel in MEAN)
"""What comes in from outside of the crop: ImageNet's mean colour, as timm's recipes have it."""

LEAST = 2.0**-54
"""Stands for a draw of 0, whose normal number would be without end."""

OPERATIONS = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "Posterize",
    "Solarize",
    "SolarizeAdd",
    "Color",
    "Contrast",
    "Brightness",
    "Sharpness",
    "ShearX",
    "ShearY",
    "TranslateXRel",
    "TranslateYRel",
)
"""Each as likely. timm's 15 of RandAugment (arXiv 1909.13719), by its names without `Increasing`:
that changes levels, not operations."""


def rand_draws(name: str, epoch: int, sample: int, seed: int, count: int) -> Draws:
    """The draws of a slot, (count, 4) in [0, 1), by (seed, source name, epoch, sample).

    Of each operation: which, whether, how strong, and which way.
    """
    key = mix(base_key(seed, "rand", name), epoch, sample)
    return uniforms(key, 4 * count).reshape(count, 4)


def rand_augment(pixels: Pixels, draws: Draws, config: RandConfig) -> Pixels:
    """A crop, uint8 (h, w, 3), after the operations of `draws`, (count, 4): the same shape."""
    image = Image.fromarray(pixels)
    for which, whether, strength, way in draws.tolist():
        if whether < APPLIED:
            name = OPERATIONS[int(which * len(OPERATIONS))]
            level = _level(strength, config)
            image = operate(image, name, level, way < 0.5, config.increasing)
    return np.asarray(image)


def _level(strength: float, config: RandConfig) -> float:
    """In [0, 1], from a draw: normal around the config's magnitude, cut off at both ends."""
    normal = NormalDist().inv_cdf(max(strength, LEAST))
    return min(max(config.magnitude + config.spread * normal, 0), MOST) / MOST


def operate(
    image: Image.Image, name: str, level: float, negative: bool, increasing: bool
) -> Image.Image:
    """An RGB image after one of `OPERATIONS` at a level in [0, 1], the one way or the other."""
    argument = _arguments(level, -1 if negative else 1, increasing).get(name)
    arguments = () if argument is None else (argument,)
    inside: dict[str, Any] = {"resample": Image.Resampling.BICUBIC, "fillcolor": FILL}
    operation: Any = NAME_TO_OP[name]  # timm tells no types
    changed: Image.Image = operation(image, *arguments, **inside)
    return changed


def _arguments(level: float, sign: int, increasing: bool) -> Mapping[str, float]:
    """What timm makes of a level, by operation; degrees, bits, thresholds, factors and shares."""
    bits, threshold = int(level * 4), int(level * 256)
    enhanced = max(0.1, 1 + sign * level * 0.9) if increasing else 0.1 + level * 1.8
    return {
        "Rotate": sign * level * 30,
        "Posterize": 4 - bits if increasing else bits,
        "Solarize": 256 - threshold if increasing else threshold,
        "SolarizeAdd": int(level * 110),
        **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), enhanced),
        **dict.fromkeys(("ShearX", "ShearY"), sign * level * 0.3),
        **dict.fromkeys(("TranslateXRel", "TranslateYRel"), sign * level * 0.45),
    }
