"""Batches for models, so that an image gets the same score whoever scores it.

They are fixed runs of one part, padded to full size; a bad image keeps its slot as zeros. A
score's last bits may depend on the shape of its batch, and not on what else is in it: seen so of
CLIP models on one CPU (tests/pipeline/measure/test_clip_stability.py). Threads decode one batch
ahead of the model; how many there are changes nothing but the time.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.format.images import ImageError, decode
from pipeline.measure.image import ImageConfig
from pipeline.pool import source
from pipeline.pool.sample import Part, PoolImage

Item = TypeVar("Item")
Made = TypeVar("Made")
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
    part: Part,
    images: ImageConfig,
    prepare: Prepare,
    size: int,
    bad: frozenset[int],
    decoders: int = 1,
) -> Iterator[Run]:
    """A part in runs of `size` rows, the last one shorter, by so many threads that decode.

    `bad`: numbers of the rows that the image family could not read; they are not decoded again,
    for a decoder may die of them.
    """

    def made(numbered: tuple[int, PoolImage]) -> tuple[Array | None, str]:
        number, row = numbered
        return None if number in bad else prepare(row), row.caption

    with ThreadPoolExecutor(decoders) as pool:
        rows = _mapped(pool, made, enumerate(source.read(part, images.max_bytes)), decoders)
        while taken := list(islice(rows, size)):
            yield Run([array for array, _ in taken], [caption for _, caption in taken])


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items; while one is worked on, a thread makes the next, and none after it.

    What making one raises is raised where its turn comes.
    """
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(lambda: [*islice(items, 1)])
        while one := coming.result():
            coming = maker.submit(lambda: [*islice(items, 1)])
            yield one.pop()


def _mapped(
    pool: ThreadPoolExecutor, make: Callable[[Item], Made], items: Iterable[Item], threads: int
) -> Iterator[Made]:
    """What is made of each item, in order; only as many are read as keep the threads busy."""
    begun: deque[Future[Made]] = deque()
    for item in items:
        begun.append(pool.submit(make, item))
        if len(begun) > threads:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


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
