"""Perceptual hashes: copies of a picture are near, other pictures are far."""

import io

import numpy as np
import pdqhash
import pytest
from PIL import Image

from pipeline.measure.hashes import perceptual, sha256
from tests.pipeline.making import encode, picture

RADIUS = 31

POSITIONS = [
    None,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_270,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
]


def eight(image: Image.Image) -> np.ndarray:
    """(8, 32) hashes."""
    return np.frombuffer(perceptual(image)[0], np.uint8).reshape(8, 32)


def bits(a: Image.Image, b: Image.Image) -> int:
    return int(np.bitwise_count(eight(a)[0] ^ eight(b)[0]).sum())


def detailed(number: int, width: int = 200, height: int = 150) -> Image.Image:
    """A picture with something in every frequency, as photographs have it."""
    coarse = np.random.default_rng(number).integers(0, 256, (40, 40, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def saved(image: Image.Image, image_format: str, **options) -> Image.Image:
    return Image.open(io.BytesIO(encode(image, image_format, **options))).convert("RGB")


@pytest.mark.parametrize("number", range(5))
def test_copies_of_a_picture_lie_within_the_radius(number):
    image = picture(number, 400, 300)
    assert perceptual(image)[1] >= 50
    assert bits(image, saved(image, "JPEG", quality=40)) <= RADIUS
    assert bits(image, saved(image, "WEBP", quality=50)) <= RADIUS
    assert bits(image, image.resize((200, 150), Image.Resampling.BICUBIC)) <= RADIUS
    assert bits(image, image.resize((1600, 1200), Image.Resampling.BICUBIC)) <= RADIUS


def test_other_pictures_lie_far_beyond_the_radius():
    pictures = [picture(number, 200, 150) for number in range(12)]
    distances = [bits(a, b) for n, a in enumerate(pictures) for b in pictures[:n]]
    assert min(distances) > 2 * RADIUS


@pytest.mark.parametrize("position", range(1, 8))
def test_a_picture_that_was_turned_has_the_hash_of_that_position(position):
    image = detailed(3)
    turned = image.transpose(POSITIONS[position])
    assert bits(image, turned) > 2 * RADIUS
    assert np.bitwise_count(eight(image)[position] ^ eight(turned)[0]).sum() <= 6


def windows(image: Image.Image) -> np.ndarray:
    """(4, 32) hashes: of the upper window, mirrored, of the lower one, mirrored."""
    return np.frombuffer(perceptual(image).window_phashes, np.uint8).reshape(4, 32)


@pytest.mark.parametrize(("bar", "window"), [((0, 0, 200, 36), 2), ((0, 114, 200, 150), 0)])
def test_a_bar_at_one_edge_leaves_the_other_window_as_it_was(bar, window):
    image = detailed(4)
    barred = image.copy()
    barred.paste("black", bar)
    assert bits(image, barred) > RADIUS
    apart = np.bitwise_count(windows(image) ^ windows(barred)).sum(axis=1)
    assert apart[window] == apart[window + 1] == 0
    assert apart[2 - window] > RADIUS
    mirrored = barred.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert np.bitwise_count(windows(image)[window] ^ windows(mirrored)[window + 1]).sum() <= 12


def test_a_window_is_hashed_as_a_picture_of_its_own():
    """Of 64 x 48, not stretched: but for that, its hash is the whole hash of the part."""
    small = detailed(6, 64, 64)
    upper, lower = small.crop((0, 0, 64, 48)), small.crop((0, 16, 64, 64))
    for part, at in ((upper, 0), (lower, 2)):
        stretched = eight(part.resize((64, 64), Image.Resampling.BICUBIC))
        assert np.bitwise_count(windows(small)[at] ^ stretched[0]).sum() <= 16
        assert np.bitwise_count(windows(small)[at + 1] ^ stretched[5]).sum() <= 16


def test_the_quality_of_windows_is_that_of_the_plainer_one():
    image = detailed(7)
    assert perceptual(image).window_quality == perceptual(image).phash_quality == 100
    image.paste("white", (0, 0, 200, 112))
    assert perceptual(image).phash_quality >= 50
    assert perceptual(image).window_quality < 50


@pytest.mark.parametrize("number", range(20))
def test_the_hashes_are_those_of_another_implementation_of_pdq(number):
    """But for frequencies that round to the median."""
    small = detailed(number, 64, 64)
    theirs, quality = pdqhash.compute_dihedral(np.asarray(small))
    packed = np.packbits(np.array(theirs, np.uint8), axis=1)
    assert np.bitwise_count(eight(small) ^ packed).sum(axis=1).max() <= 4
    assert perceptual(small)[1] == quality == 100


def test_a_symmetric_picture_has_no_random_bits():
    half = detailed(5, 64, 128)
    image = Image.new("RGB", (128, 128))
    image.paste(half, (0, 0))
    image.paste(half.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (64, 0))
    hashes = eight(image)
    assert hashes[5].tobytes() == hashes[0].tobytes()
    assert perceptual(image)[1] >= 50


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("upright", [False, True])
def test_stripes_have_a_hash_of_no_quality(upright, framed):
    """All flags of three stripes, with a frame or without, would be one picture."""
    image = Image.new("RGB", (300, 200), "red")
    image.paste("white", (100, 0, 200, 200) if upright else (0, 66, 300, 133))
    if framed:
        image.paste("black", (0, 190, 300, 200))
        image.paste("black", (290, 0, 300, 200))
    assert perceptual(image)[1] < 50


def test_a_flat_image_has_a_hash_of_no_quality():
    assert perceptual(Image.new("RGB", (100, 100), "grey"))[1] < 10


def test_an_image_under_eight_pixels_has_no_hash():
    assert perceptual(picture(1, 7, 100)) is None
    assert perceptual(picture(1, 100, 7)) is None
    assert len(perceptual(picture(1, 8, 8))[0]) == 256


@pytest.mark.parametrize("size", [(8, 20_000), (20_000, 8), (513, 8), (8, 512)])
def test_a_strip_of_any_length_can_be_hashed(size):
    assert len(perceptual(picture(1, *size))[0]) == 256


def test_sha256_is_that_of_the_bytes():
    assert sha256(b"abc").startswith("ba7816bf8f01cfea414140de5dae2223")
