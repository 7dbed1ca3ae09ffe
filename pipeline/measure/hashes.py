"""Hashes: of the bytes, and of what they look like."""

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 64
"""Pixels to which both sides are brought: all that PDQ sees of an image."""

MIN_SIDE = 8
"""Below this an image has too few pixels for 256 bits to mean anything."""

ALL, UPPER, LOWER = slice(0, 64), slice(0, 48), slice(16, 64)
"""Rows, of 64: the whole image, its upper and its lower three quarters."""


def _dct(side: int) -> npt.NDArray[np.float64]:
    """The 16 lowest waves but the constant one, (16, side)."""
    frequency, place = np.arange(1, 17)[:, None], np.arange(side)[None, :]
    return np.sqrt(2 / side) * np.cos(np.pi / side * frequency * (place + 0.5))


_DCT, _WINDOW_DCT = _dct(SIDE), _dct(48)
_ODD = np.where(np.arange(1, 17) % 2, -1.0, 1.0)


class Look(NamedTuple):
    """What an image looks like, by the ledger's names."""

    phashes: bytes
    """Eight hashes of 32 bytes: as it is, turned by 90°, 180° and 270° (counter-clockwise),
    flipped top to bottom, left to right, and along its two diagonals."""

    phash_quality: int
    """From 0 to 100; a hash of low quality says little."""

    window_phashes: bytes
    """Four hashes: of the upper three quarters and their mirror image (left to right), of the
    lower ones and theirs."""

    window_quality: int
    """The lower of the two windows'."""


def sha256(data: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def perceptual(image: Image.Image) -> Look | None:
    """The 256-bit PDQ hashes of an image: whole, and of two windows of it.

    Two images of one picture differ by few bits (PDQ's own threshold is 31) in one of the eight
    positions of the whole. Where one has a bar of text at its edge, a window is without it. None
    for an image smaller than 8 pixels on a side.

    After PDQ (Facebook, "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing
    algorithm", 2019): which of the 16 x 16 lowest frequencies but the constant ones lie above
    their median. It differs in three ways. The image is brought to 64 x 64 by averaging, not by a
    blur: faster, and flips and halved copies come out the same. Frequencies are rounded to whole
    numbers: what is zero but for the arithmetic gives no random bits, and every machine gives the
    same ones. Quality is low for stripes, too. The windows are our own.
    """
    if min(image.size) < MIN_SIDE:
        return None
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    luma = np.asarray(small)
    across = luma @ _DCT.T
    upper, lower = (np.rint(_WINDOW_DCT @ across[rows]) for rows in (UPPER, LOWER))
    mirrored = [upper, upper * _ODD, lower, lower * _ODD]
    waves = np.concatenate([_turned(np.rint(_DCT @ across)), mirrored]).reshape(12, 256)
    bits = waves > np.partition(waves, 127, axis=1)[:, 127:128]
    shown = zip(_contrasts(luma), _independence(bits[[0, 8, 10]]), strict=True)
    whole, *windows = map(min, shown)
    packed = np.packbits(bits[:, ::-1], axis=1)
    return Look(packed[:8].tobytes(), whole, packed[8:].tobytes(), min(windows))


def _turned(waves: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The frequencies of all turns: a mirror changes the sign of odd waves, a turn the axes."""
    across, down, swapped = _ODD[None, :], _ODD[:, None], waves.T
    turns = [waves, swapped * down, waves * across * down, swapped * across]
    flips = [waves * down, waves * across, swapped, swapped * across * down]
    return np.stack(turns + flips)


def _contrasts(luma: npt.NDArray[np.uint8]) -> list[int]:
    """PDQ's quality of the whole and of both windows.

    How much neighbours differ, in whole percent of white, and a 90th of the sum over 64 x 64.
    """
    grey = luma.astype(np.int16)
    steps = grey[:, 1:] - grey[:, :-1], grey[1:] - grey[:-1]
    right, down = ((np.abs(step) * 100 // 255).sum(axis=1) for step in steps)

    def contrast(rows: slice) -> int:
        total = int(right[rows].sum() + down[rows.start : rows.stop - 1].sum())
        return min(100, total * SIDE // (rows.stop - rows.start) // 90)

    return [contrast(rows) for rows in (ALL, UPPER, LOWER)]


def _independence(bits: npt.NDArray[np.bool_]) -> list[int]:
    """How many different rows hashes (n, 256) have, as a participation ratio in units of a 25th.

    Stripes and frames leave 16 equal rows, but for their sign: one in effect, 25. All flags of
    three stripes have the same hash, whatever their contrast. Random bits have 8 in effect.
    """
    rows = np.where(bits, np.float32(1), np.float32(-1)).reshape(-1, 16, 16)
    alike = np.square(rows @ rows.transpose(0, 2, 1)).sum(axis=(1, 2))
    return [min(100, int(25 * 256**2 / total)) for total in alike.tolist()]
