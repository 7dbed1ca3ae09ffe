"""Hashes: of the bytes, and of what they look like."""

import hashlib

import numpy as np
import pdqhash
from PIL import Image

PDQ_SIDE = 512
"""Larger images are shrunk first, as PDQ's authors advise; its own filter is slow on them."""

MIN_SIDE = 8
"""Below this an image has too few pixels for 256 bits to mean anything."""


def sha256(data: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def perceptual(image: Image.Image) -> tuple[bytes, int] | None:
    """The 256-bit PDQ hash as 32 bytes, and its quality from 0 (flat) to 100.

    Two images of one picture differ by few bits (PDQ's own threshold is 31); a hash of low
    quality says little. None for an image smaller than 8 pixels on a side.
    """
    if min(image.size) < MIN_SIDE:
        return None
    if max(image.size) > PDQ_SIDE:
        scale = PDQ_SIDE / max(image.size)
        size = [max(1, round(side * scale)) for side in image.size]
        image = image.resize((size[0], size[1]), Image.Resampling.BOX)
    bits, quality = pdqhash.compute(np.ascontiguousarray(image))
    return np.packbits(np.asarray(bits, np.uint8)).tobytes(), int(quality)
