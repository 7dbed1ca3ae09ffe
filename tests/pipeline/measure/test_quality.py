"""Sharpness."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pipeline.measure.quality import sharpness
from tests.pipeline.making import picture


@pytest.mark.parametrize("number", range(3))
def test_a_blurred_picture_is_less_sharp(number):
    noise = np.random.default_rng(number).integers(0, 256, (120, 160, 3), np.uint8)
    image = Image.fromarray(noise)
    values = [sharpness(image.filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 4


def test_a_flat_or_sloping_picture_has_no_sharpness():
    assert sharpness(Image.new("RGB", (50, 50), "teal")) == 0
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8), (100, 200))
    assert sharpness(Image.fromarray(np.ascontiguousarray(ramp))) == 0


def test_it_is_the_variance_of_the_laplacian():
    grey = np.random.default_rng(1).integers(0, 256, (9, 11), np.uint8)
    luma = grey.astype(float)
    values = [
        luma[y - 1, x] + luma[y + 1, x] + luma[y, x - 1] + luma[y, x + 1] - 4 * luma[y, x]
        for y in range(1, 8)
        for x in range(1, 10)
    ]
    assert sharpness(Image.fromarray(grey)) == pytest.approx(np.var(values), rel=1e-5)


def test_large_pictures_are_compared_at_one_size():
    small = picture(1, 256, 192)
    large = small.resize((1024, 768), Image.Resampling.NEAREST)
    assert sharpness(large) == pytest.approx(sharpness(small), rel=0.01)


@pytest.mark.parametrize("size", [(1, 1), (2, 50), (50, 2), (5000, 3)])
def test_a_picture_too_thin_for_it_has_none(size):
    assert sharpness(Image.new("RGB", size)) == 0
