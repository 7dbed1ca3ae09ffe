"""Hashes: of the bytes, and of what they look like."""

import hashlib

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 64
"""Pixels to which both sides are brought: all that PDQ sees of an image."""

MIN_SIDE = 8
"""Below this an image has too few pixels for 256 bits to mean anything."""

_FREQUENCY, _PLACE = np.arange(1, 17)[:, None], np.arange(SIDE)[None, :]
_DCT = np.sqrt(2 / SIDE) * np.cos(np.pi / SIDE * _FREQUENCY * (_PLACE + 0.5))
_ODD = np.where(np.arange(1, 17) % 2, -1.0, 1.0)


def sha256(data: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def perceptual(image: Image.Image) -> tuple[bytes, int] | None:
    """Eight 256-bit PDQ hashes of an RGB image, 32 bytes each, and its quality from 0 to 100.

    The hashes are those of the image as it is, turned by 90°, 180° and 270° (counter-clockwise),
    flipped top to bottom, left to right, and along its two diagonals. Two images of one picture
    differ by few bits (PDQ's own threshold is 31) in one of them; a hash of low quality says
    little. None for an image smaller than 8 pixels on a side.

    After PDQ (Facebook, "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing
    algorithm", 2019): which of the 16 x 16 lowest frequencies but the constant ones lie above
    their median. It differs in three ways. The image is brought to 64 x 64 by averaging, not by a
    blur: faster, and flips and halved copies come out the same. Frequencies are rounded to whole
    numbers: what is zero but for the arithmetic gives no random bits, and every machine gives the
    same ones. Quality is low for stripes, too.
    """
    if min(image.size) < MIN_SIDE:
        return None
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    luma = np.asarray(small.convert("L"), np.float64)
    waves = np.rint(_DCT @ luma @ _DCT.T)
    eight = _turned(waves).reshape(8, 256)
    bits = eight > np.partition(eight, 127, axis=1)[:, 127:128]
    quality = min(_contrast(luma), _independence(bits[0]))
    return np.packbits(bits[:, ::-1], axis=1).tobytes(), quality


def _turned(waves: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The frequencies of all turns: a mirror changes the sign of odd waves, a turn the axes."""
    across, down, swapped = _ODD[None, :], _ODD[:, None], waves.T
    turns = [waves, swapped * down, waves * across * down, swapped * across]
    flips = [waves * down, waves * across, swapped, swapped * across * down]
    return np.stack(turns + flips)


def _contrast(luma: npt.NDArray[np.float64]) -> int:
    """PDQ's quality: how much neighbours differ, in whole percent of white, a 90th of the sum."""
    total = sum(np.abs((np.diff(luma, axis=axis) / 2.55).astype(np.int64)).sum() for axis in (0, 1))
    return min(100, int(total) // 90)


def _independence(bits: npt.NDArray[np.bool_]) -> int:
    """How many different rows 256 bits have, as a participation ratio in units of a 25th.

    Stripes and frames leave 16 equal rows, but for their sign: one in effect, 25. All flags of
    three stripes have the same hash, whatever their contrast. Random bits have 8 in effect.
    """
    rows = np.where(bits, 1, -1).reshape(16, 16)
    return min(100, int(25 * 256**2 / np.square(rows @ rows.T).sum()))
