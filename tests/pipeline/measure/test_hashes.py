"""Perceptual hashes: copies of a picture are near, other pictures are far."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.measure.hashes import perceptual, sha256
from tests.pipeline.making import encode, picture

RADIUS = 31


def bits(a: Image.Image, b: Image.Image) -> int:
    one, other = (np.frombuffer(perceptual(image)[0], np.uint8) for image in (a, b))
    return int(np.bitwise_count(one ^ other).sum())


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


def test_a_mirrored_picture_is_another_one():
    image = picture(3, 200, 150)
    assert bits(image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) > 2 * RADIUS


def test_a_flat_image_has_a_hash_of_no_quality():
    assert perceptual(Image.new("RGB", (100, 100), "grey"))[1] < 10


def test_an_image_under_eight_pixels_has_no_hash():
    assert perceptual(picture(1, 7, 100)) is None
    assert perceptual(picture(1, 100, 7)) is None
    assert len(perceptual(picture(1, 8, 8))[0]) == 32


@pytest.mark.parametrize("size", [(8, 20_000), (20_000, 8), (513, 8), (8, 512)])
def test_a_strip_of_any_length_can_be_hashed(size):
    assert len(perceptual(picture(1, *size))[0]) == 32


def test_sha256_is_that_of_the_bytes():
    assert sha256(b"abc").startswith("ba7816bf8f01cfea414140de5dae2223")
