"""The facts of one pool image that need no model: IMAGE_SCHEMA of the ledger."""

from typing import Any

import pyarrow as pa
from pydantic import Field

from pipeline import ledger
from pipeline.format.images import MAX_PIXELS, ImageError, open_image, to_rgb
from pipeline.measure import hashes, quality
from pipeline.pool import source
from pipeline.pool.sample import Part, PoolImage, clean_meta
from pipeline.settings import Settings

VERSION = 1
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
        "caption": printable(image.caption),
        "caption_words": len(image.caption.split()),
        "caption_characters": len(image.caption),
        "meta": printable(clean_meta(image.meta)),
    }
    if image.error is None:
        row["sha256"] = hashes.sha256(image.image)
        try:
            row |= _pixel_facts(image.image, config, row)
        except ImageError as error:
            row["error"] = str(error)
    return row


def _pixel_facts(data: bytes, config: ImageConfig, row: dict[str, Any]) -> dict[str, Any]:
    opened = open_image(data, config.max_pixels)
    row |= {"format": opened.format, "width": opened.width, "height": opened.height}
    rgb = to_rgb(opened)
    phash, phash_quality = hashes.perceptual(rgb) or (None, None)
    return {
        "sharpness": quality.sharpness(rgb),
        "phash": phash,
        "phash_quality": phash_quality,
    }


def printable(text: str) -> str:
    """Text that UTF-8 can hold: stray surrogates from broken names become question marks."""
    return text.encode("utf-8", "replace").decode()
