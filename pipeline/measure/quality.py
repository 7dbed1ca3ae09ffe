"""Figures of an image's quality, all from one small copy of it."""

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 384
"""Figures are taken at this longest side or down to half of it, so that sizes compare roughly."""

FLAT = 1
"""Grey levels by which a pixel of a flat area may differ from its neighbours."""


def steps(size: tuple[int, int]) -> int:
    """The power of two by which an image of this size is shrunk so that no side is over 384 pixels.

    A power of two, because a JPEG can be decoded at a half, a quarter or an eighth of its size.
    """
    longest = -(-max(size) // SIDE)
    return 1 << (longest - 1).bit_length()


def reduced(image: Image.Image) -> Image.Image:
    """The image shrunk by `steps`, by averaging."""
    return image.reduce(steps(image.size))


def figures(image: Image.Image) -> dict[str, float]:
    """Sharpness, entropy and flat share of an image of any size, at the reduced size.

    `sharpness`: variance of the four-neighbour Laplacian of the luma (0 to 255); low is blurred
    or flat. `entropy`: bits of the luma's histogram, from 0 (one grey) to 8 (all alike often).
    `flat_share`: share of pixels whose luma differs by at most 1 from the right neighbour's and
    the lower one's; high for logos, screenshots, plain backgrounds. Sums are of whole numbers:
    every machine gets the same.
    """
    grey = reduced(image.convert("L"))
    luma = np.asarray(grey).astype(np.int16)
    right, down = luma[:, 1:] - luma[:, :-1], luma[1:] - luma[:-1]
    return {
        "sharpness": _sharpness(right, down),
        "entropy": grey.entropy(),
        "flat_share": _flat_share(right[:-1], down[:, :-1]),
    }


def _sharpness(right: npt.NDArray[np.int16], down: npt.NDArray[np.int16]) -> float:
    across = right[1:-1, 1:] - right[1:-1, :-1]
    laplacian = (across + down[1:, 1:-1] - down[:-1, 1:-1]).astype(np.int32)
    if not laplacian.size:  # an image under three pixels on a side
        return 0.0
    rows = np.einsum("ij,ij->i", laplacian, laplacian)  # 384 times 1020² are under 2³¹
    mean = laplacian.sum(dtype=np.int64) / laplacian.size
    return float(rows.sum(dtype=np.int64) / laplacian.size - mean * mean)


def _flat_share(right: npt.NDArray[np.int16], down: npt.NDArray[np.int16]) -> float:
    if not right.size:  # a line of pixels
        return 1.0
    flat = (np.abs(right) <= FLAT) & (np.abs(down) <= FLAT)
    return np.count_nonzero(flat) / flat.size
