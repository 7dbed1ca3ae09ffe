"""The facts of one pool image that need no model: IMAGE_SCHEMA of the ledger."""

from typing import Any

import pyarrow as pa
from PIL import Image
from pydantic import Field

from pipeline import ledger
from pipeline.format.images import (
    MAX_PIXELS,
    ImageError,
    open_image,
    orientation,
    to_luma,
    upright_size,
)
from pipeline.measure import caption, frames, hashes, quality, told
from pipeline.pool import source
from pipeline.pool.sample import Part, PoolImage, clean_meta
from pipeline.settings import Settings

VERSION = 3
"""Raise it when a fact of the same name comes out differently."""


class ImageConfig(Settings):
    """Limits within which images are read and decoded."""

    max_bytes: int = Field(default=64_000_000, gt=0)
    """Images of more bytes are recorded as `too_many_bytes`, unread."""

    max_pixels: int = Field(default=MAX_PIXELS, gt=0)
    """Images of more pixels are recorded as `too_many_pixels`, undecoded."""


def fingerprint(config: ImageConfig) -> str:
    """Names what these facts depend on."""
    return ledger.fingerprint("image", VERSION, config.model_dump())


def measure_part(part: Part, config: ImageConfig) -> pa.Table:
    """One row of IMAGE_SCHEMA for each pool image of the part, in order."""
    rows = [facts(image, config) for image in source.read(part, config.max_bytes)]
    return pa.Table.from_pylist(rows, schema=ledger.IMAGE_SCHEMA)


def facts(image: PoolImage, config: ImageConfig) -> dict[str, Any]:
    """The row of one pool image; a bad one keeps all that could be learnt before it failed."""
    row: dict[str, Any] = {
        "source": image.source,
        "key": printable(image.key),
        "offset": image.offset,
        "uid": image.uid,
        "nbytes": image.nbytes,
        "error": image.error,
        "meta": printable(clean_meta(image.meta)),
    }
    row |= caption.facts(printable(image.caption)) | told.facts(image.meta)
    if image.error is None:
        row["sha256"] = hashes.sha256(image.image)
        try:
            _add_pixel_facts(row, image.image, config)
        except ImageError as error:
            row["error"] = str(error)
    return row


def _add_pixel_facts(row: dict[str, Any], data: bytes, config: ImageConfig) -> None:
    """Adds what is learnt on the way to the pixels, too, before an ImageError ends it.

    Width and height are those that are stored until the orientation is known.
    """
    opened = open_image(data, config.max_pixels)
    width, height = opened.size
    row |= {"format": opened.format, "mode": opened.mode, "width": width, "height": height}
    row |= {"bits_per_pixel": 8 * len(data) / (width * height)}
    row |= {"frames": frames.count(opened, data), "orientation": orientation(opened)}
    width, height = upright_size(opened)
    small, seen = small_copies(opened)
    row |= {"width": width, "height": height} | quality.figures(small)
    if look := hashes.perceptual(seen):
        row |= look._asdict()


def small_copies(opened: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Decodes an opened image into the luma that figures are taken of, and the one to hash.

    They are one, but for a strip: it has too few rows left in the small copy to be told from
    another. Raises ImageError.
    """
    luma = to_luma(opened, _least(opened.size))
    small = quality.reduced(luma)
    return small, small if min(small.size) >= hashes.SIDE else luma


def _least(size: tuple[int, int]) -> tuple[int, int]:
    """The sides of the small copy, but twice what a hash is made of: a strip is hashed uncut."""
    steps = quality.steps(size)
    return max(size[0] // steps, 2 * hashes.SIDE), max(size[1] // steps, 2 * hashes.SIDE)


def printable(text: str) -> str:
    """Text that UTF-8 can hold: stray surrogates from broken names become question marks."""
    return text.encode("utf-8", "replace").decode()
