"""Figures of an image's quality."""

import numpy as np
from PIL import Image

SIDE = 256
"""Sharpness is taken at this longest side, so that it compares between sizes."""


def sharpness(image: Image.Image) -> float:
    """Variance of the four-neighbour Laplacian of the luma (0 to 255); low is blurred or flat."""
    grey = image.convert("L")
    if max(grey.size) > SIDE:
        grey.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    luma = np.asarray(grey, np.float32)
    if min(luma.shape) < 3:
        return 0.0
    centre = luma[1:-1, 1:-1]
    neighbours = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return float(np.var(neighbours - 4 * centre))
