"""Batches for models, so that an image gets the same score whoever scores it.

They are fixed runs of one part, padded to full size; a bad image keeps its slot as zeros. A
score's last bits depend on the shape of its batch, and not on what else is in it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.format.images import ImageError, decode
from pipeline.measure.image import ImageConfig
from pipeline.pool import source
from pipeline.pool.sample import Part, PoolImage

Array = npt.NDArray[Any]
Prepare = Callable[[PoolImage], Array | None]
"""Makes what a network gets of a row: an array of one shape for all, or None if it has none."""

LONGEST = 64
"""Sides longer than so many times the shorter are cut to their middle: resized to the network's
input, a strip of one pixel by 60,000 would fill 9 GB, of which it looks at the middle square."""


@dataclass
class Run:
    """Some rows of a part, in order, without their images."""

    inputs: list[Array | None] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)


def runs(
    part: Part, images: ImageConfig, prepare: Prepare, size: int, bad: frozenset[int]
) -> Iterator[Run]:
    """A part in runs of `size` rows, the last one shorter. One image is decoded at a time.

    `bad`: numbers of the rows that the image family could not read; they are not decoded again,
    for a decoder may die of them.
    """
    rows = enumerate(source.read(part, images.max_bytes))
    while True:
        run = Run()
        for number, row in islice(rows, size):
            run.inputs.append(None if number in bad else prepare(row))
            run.captions.append(row.caption)
        if not run.inputs:
            return
        yield run


def padded(inputs: list[Array | None], size: int) -> Array | None:
    """(size, ...): the inputs of a run, zeros where there is none; None if there is none at all."""
    first = next((one for one in inputs if one is not None), None)
    if first is None:
        return None
    batch = np.zeros((size, *first.shape), first.dtype)
    for slot, one in enumerate(inputs):
        if one is not None:
            batch[slot] = one
    return batch


def whole(row: PoolImage, images: ImageConfig) -> Image.Image | None:
    """A row's decoded image; None where it is bad."""
    try:
        return decode(row.image, images.max_pixels)
    except ImageError:
        return None


def picture(row: PoolImage, images: ImageConfig) -> Image.Image | None:
    """A row's decoded image, a long strip cut to its middle; None where it is bad."""
    image = whole(row, images)
    return None if image is None else _middle(image)


def _middle(image: Image.Image) -> Image.Image:
    most = LONGEST * min(image.size)
    width, height = min(image.width, most), min(image.height, most)
    if (width, height) == image.size:
        return image
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
