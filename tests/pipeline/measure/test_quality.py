"""Sharpness, entropy and flat share, from one small copy."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from pipeline.measure.quality import figures, reduced
from tests.pipeline.making import picture


def noise(seed: int, *shape: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


@pytest.mark.parametrize("number", range(3))
def test_a_blurred_picture_is_less_sharp(number):
    image = noise(number, 120, 160, 3)
    blurred = [image.filter(ImageFilter.GaussianBlur(radius)) for radius in (0, 1, 2, 4)]
    values = [figures(one)["sharpness"] for one in blurred]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 4


def test_a_flat_or_sloping_picture_has_no_sharpness_and_is_flat():
    flat = figures(Image.new("RGB", (50, 50), "teal"))
    assert flat == {"sharpness": 0, "entropy": 0, "flat_share": 1}
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8), (100, 200))
    sloping = figures(Image.fromarray(np.ascontiguousarray(ramp)))
    assert (sloping["sharpness"], sloping["flat_share"]) == (0, 1)


def test_sharpness_is_the_variance_of_the_laplacian():
    grey = noise(1, 9, 11)
    luma = np.asarray(grey).astype(float)
    values = [
        luma[y - 1, x] + luma[y + 1, x] + luma[y, x - 1] + luma[y, x + 1] - 4 * luma[y, x]
        for y in range(1, 8)
        for x in range(1, 10)
    ]
    assert figures(grey)["sharpness"] == pytest.approx(np.var(values), rel=1e-9)


def test_figures_are_those_of_a_slow_count():
    grey = noise(3, 31, 40).filter(ImageFilter.GaussianBlur(6))
    luma = np.asarray(grey).astype(int)
    near = [
        abs(luma[y, x + 1] - luma[y, x]) <= 1 and abs(luma[y + 1, x] - luma[y, x]) <= 1
        for y in range(30)
        for x in range(39)
    ]
    shares = np.unique(luma, return_counts=True)[1] / luma.size
    found = figures(grey)
    assert found["flat_share"] == sum(near) / len(near)
    assert 0 < found["flat_share"] < 1
    assert found["entropy"] == pytest.approx(-np.sum(shares * np.log2(shares)))


def test_the_largest_picture_with_the_hardest_edges_does_not_overflow():
    board = (np.indices((384, 384)).sum(0) % 2 * 255).astype(np.uint8)
    found = figures(Image.fromarray(board))
    assert found["sharpness"] == pytest.approx(1020**2)
    assert found["flat_share"] == 0


def test_entropy_is_the_bits_of_the_histogram():
    halves = Image.new("L", (16, 16))
    halves.paste(200, (0, 0, 8, 16))
    assert figures(halves)["entropy"] == pytest.approx(1)
    all_levels = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert figures(all_levels)["entropy"] == pytest.approx(8)
    quarter = Image.new("L", (16, 16))
    quarter.paste(99, (0, 0, 4, 16))
    assert figures(quarter)["entropy"] == pytest.approx(0.8112781)


def test_flat_share_counts_pixels_like_their_neighbours():
    grey = np.full((5, 6), 100, np.uint8)
    grey[2, 3] = 102  # differs from four neighbours: itself, the one above, the one to its left
    assert figures(Image.fromarray(grey))["flat_share"] == pytest.approx(1 - 3 / (4 * 5))
    grey[2, 3] = 101
    assert figures(Image.fromarray(grey))["flat_share"] == 1


def test_a_drawing_is_flatter_than_a_photograph():
    drawing = Image.new("RGB", (300, 300), "white")
    ImageDraw.Draw(drawing).ellipse((50, 50, 250, 250), "red")
    photograph = noise(2, 300, 300, 3).filter(ImageFilter.GaussianBlur(2))
    drawn, taken = figures(drawing), figures(photograph)
    assert drawn["flat_share"] > 0.95 > 0.3 > taken["flat_share"]
    assert drawn["entropy"] < 1.5 < 4 < taken["entropy"]


def test_large_pictures_are_compared_at_one_size():
    small = picture(1, 256, 192)
    for large in ((512, 384), (1024, 768), (4096, 3072)):
        found = figures(small.resize(large, Image.Resampling.NEAREST))
        assert found == pytest.approx(figures(small), rel=0.01)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((384, 384), (384, 384)),
        ((385, 100), (193, 50)),
        ((512, 384), (256, 192)),
        ((333, 1000), (84, 250)),
        ((768, 769), (192, 193)),
        ((1, 60_000), (1, 235)),
        ((40, 30), (40, 30)),
    ],
)
def test_the_small_copy_has_at_most_384_pixels_on_its_longest_side(size, wanted):
    assert reduced(Image.new("RGB", size)).size == wanted


@pytest.mark.parametrize("size", [(1, 1), (2, 50), (50, 2), (5000, 3)])
def test_a_picture_too_thin_for_it_has_no_sharpness(size):
    found = figures(Image.new("RGB", size))
    assert found == {"sharpness": 0, "entropy": 0, "flat_share": 1}
