"""Bytes to pixels: every common kind of image by its values, and hostile bytes by their reason."""

import io
import math
import re
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.format.images import (
    FORMATS,
    OUT_OF_MEMORY,
    ImageError,
    decode,
    open_image,
    orientation,
    to_rgb,
)
from tests.pipeline.making import encode, picture, png

ORANGE = (200, 100, 50)
FLAT = Image.new("RGB", (16, 12), ORANGE)


def pixel(data: bytes, x: int = 8, y: int = 6) -> tuple[int, int, int]:
    image = decode(data)
    assert image.mode == "RGB"
    return image.getpixel((x, y))


def near(value: tuple[int, ...], wanted: tuple[int, ...], by: int = 3) -> bool:
    return all(abs(a - b) <= by for a, b in zip(value, wanted, strict=True))


@pytest.mark.parametrize(
    ("image_format", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 95}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("PPM", {}),
        ("JPEG2000", {}),
    ],
)
def test_each_format_keeps_its_colour_and_is_named(image_format, options):
    data = encode(FLAT, image_format, **options)
    assert near(pixel(data), ORANGE)
    opened = open_image(data)
    assert opened.format == image_format
    assert opened.size == (16, 12)
    assert opened.format in FORMATS


def test_a_phone_picture_with_a_second_picture_behind_it_is_a_jpeg():
    data = encode(FLAT, "MPO", save_all=True, append_images=[Image.new("RGB", (16, 12))])
    assert open_image(data).format == "JPEG"
    assert near(pixel(data), ORANGE)


def test_grey_palette_and_bilevel_become_rgb():
    assert pixel(encode(Image.new("L", (16, 12), 77))) == (77, 77, 77)
    assert pixel(encode(Image.new("1", (16, 12), 1))) == (255, 255, 255)
    flat = FLAT.quantize(4)
    assert near(pixel(encode(flat)), ORANGE)
    assert flat.mode == "P"


@pytest.mark.parametrize("alpha", [0, 128, 255])
@pytest.mark.parametrize(("image_format", "options"), [("PNG", {}), ("WEBP", {"exact": True})])
def test_alpha_is_flattened_on_white(alpha, image_format, options):
    image = Image.new("RGBA", (16, 12), (*ORANGE, alpha))
    if image_format == "WEBP":
        options = options | {"lossless": True}
    blended = tuple(round(255 + (c - 255) * alpha / 255) for c in ORANGE)
    assert near(pixel(encode(image, image_format, **options)), blended, 1)


def test_grey_with_alpha_is_flattened_on_white():
    assert near(pixel(encode(Image.new("LA", (16, 12), (100, 51)))), (224, 224, 224), 1)


def test_a_transparent_palette_colour_becomes_white():
    image = Image.new("P", (16, 12), 1)
    image.putpalette([0, 0, 0, *ORANGE])
    image.paste(0, (0, 0, 8, 12))
    for image_format in ("PNG", "GIF"):
        data = encode(image, image_format, transparency=0)
        assert pixel(data, 2) == (255, 255, 255)
        assert pixel(data, 12) == ORANGE


def test_a_transparent_colour_of_an_rgb_png_becomes_white():
    image = FLAT.copy()
    image.paste((1, 2, 3), (0, 0, 8, 12))
    data = encode(image, transparency=(1, 2, 3))
    assert pixel(data, 2) == (255, 255, 255)
    assert pixel(data, 12) == ORANGE


def test_cmyk_becomes_rgb():
    cmyk = FLAT.convert("CMYK")
    assert near(pixel(encode(cmyk, "JPEG", quality=98)), ORANGE, 4)
    assert near(pixel(encode(cmyk, "TIFF")), ORANGE, 4)


@pytest.mark.parametrize("value", [0, 255, 256, 40_000, 65_535])
@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_eight(value, image_format):
    image = Image.fromarray(np.full((12, 16), value, np.uint16))
    assert pixel(encode(image, image_format)) == (value // 256,) * 3


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.25, 0.5, 1.0, 300.0, math.nan])
def test_floating_point_counts_from_zero_to_one(value):
    data = encode(Image.fromarray(np.full((12, 16), value, np.float32)), "TIFF")
    grey = 0 if math.isnan(value) else int(min(max(value, 0), 1) * 255)
    assert pixel(data) == (grey,) * 3
    head = b"Pf\n16 12\n-1.0\n"
    assert pixel(head + np.full((12, 16), value, "<f4").tobytes()) == (grey,) * 3


@pytest.mark.parametrize(("most", "value"), [(65_535, 40_000), (1023, 625)])
def test_a_netpbm_file_of_two_bytes_is_scaled_by_its_own_white(most, value):
    head = f"P5\n16 12\n{most}\n".encode()
    assert pixel(head + np.full((12, 16), value, ">u2").tobytes()) == (156, 156, 156)


def test_sixteen_bit_colour_is_scaled_to_eight():
    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    row = b"\0" + struct.pack(">3H", 40_000, 20_000, 255) * 16
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 12, 16, 2, 0, 0, 0))
    data += chunk(b"IDAT", zlib.compress(row * 12)) + chunk(b"IEND", b"")
    assert pixel(data) == (156, 78, 0)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_the_orientation_is_told_and_applied_in_every_format(image_format, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encode(FLAT, image_format, exif=exif)
    opened = open_image(data)
    assert orientation(opened) == turn
    assert to_rgb(opened).size == decode(data).size == ((16, 12) if turn < 5 else (12, 16))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0MM",
        b"Exif\0\0II*\0" + b"\xff" * 40,
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x04six\0\0\0\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0\0\0\0\0",
    ],
    ids=["cut", "noise", "text", "nine"],
)
def test_an_image_whose_exif_is_broken_is_taken_as_it_lies(image_format, exif):
    data = encode(FLAT, image_format, exif=exif)
    assert orientation(open_image(data)) == 1
    assert decode(data).size == (16, 12)


def test_asking_a_broken_png_for_its_orientation_is_an_image_error():
    with pytest.raises(ImageError, match="decode_failed: "):
        orientation(open_image(png(1)[:200]))


@pytest.mark.parametrize("error", [MemoryError(), OSError("decoder error: out of memory")])
def test_running_out_of_memory_has_a_reason_of_its_own(error):
    def fail(*_):
        raise error

    image = open_image(png(1))
    image.load = fail
    with pytest.raises(ImageError) as caught:
        to_rgb(image)
    assert str(caught.value) == OUT_OF_MEMORY


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_camera_is_applied(orientation):
    corner = Image.new("RGB", (16, 8), "white")
    corner.paste("red", (0, 0, 4, 4))  # stored at the top left
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = decode(encode(corner, exif=exif))
    assert shown.size == ((16, 8) if orientation < 5 else (8, 16))
    width, height = shown.size
    corners = {
        "top left": (1, 1),
        "top right": (width - 2, 1),
        "bottom right": (width - 2, height - 2),
        "bottom left": (1, height - 2),
    }
    red = [name for name, at in corners.items() if shown.getpixel(at) == (255, 0, 0)]
    assert red == [list(corners)[(orientation - 1) % 4]]


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(image_format):
    options = {"lossless": True} if image_format == "WEBP" else {}
    frames = [Image.new("RGB", (16, 12), colour) for colour in ("blue", "red", "lime")]
    data = encode(frames[0], image_format, save_all=True, append_images=frames[1:], **options)
    assert pixel(data) == (0, 0, 255)


def test_decoding_does_not_change_a_plain_picture():
    np.testing.assert_array_equal(np.asarray(decode(png(3))), np.asarray(picture(3)))


# Bytes that are no usable image


def png_header(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def reason(data: bytes, **limits: int) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, **limits)
    return str(caught.value)


@pytest.mark.parametrize(
    ("width", "height"),
    [(14_000, 14_000), (65_000, 65_000), (2**31 - 1, 2**31 - 1), (64_001, 1000)],
)
def test_a_bomb_is_refused_before_it_is_decoded(width, height):
    bomb = png_header(width, height, zlib.compress(bytes(1_000_000)))
    tracemalloc.start()
    began = time.perf_counter()
    try:
        assert reason(bomb).startswith("too_many_pixels: ")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - began < 1


def test_the_bomb_of_the_demo_pool_is_refused(demo_data):
    whole = b"".join(path.read_bytes() for path in sorted((demo_data / "pool").glob("*.tar")))
    at = whole.index(b"IHDR" + struct.pack(">II", 14_000, 14_000)) - 12
    assert reason(whole[at : at + 200_000]).startswith("too_many_pixels: ")


def test_the_limit_of_pixels_is_the_callers():
    assert reason(png(1, 101, 100), max_pixels=10_000) == "too_many_pixels: 101 x 100 is over 10000"
    assert decode(png(1, 100, 100), max_pixels=10_000).size == (100, 100)


def test_empty_bytes_and_other_files_are_told():
    assert reason(b"") == "empty: no bytes"
    assert reason(b"<html><body>404") == "not_an_image: begins with b'<html><body>404'"
    assert reason(b"\0" * 100).startswith("not_an_image: begins with")
    assert reason(b"%PDF-1.4 " * 20).startswith("not_an_image: ")


@pytest.mark.parametrize("image_format", ["ICO", "PCX", "TGA", "EPS", "PDF", "DDS"])
def test_formats_off_the_list_do_not_reach_their_decoders(image_format):
    assert reason(encode(FLAT, image_format)).startswith("not_an_image: ")


def test_an_image_of_no_size_is_refused():
    assert re.match(r"(not_an_image|decode_failed): ", reason(png_header(0, 0)))
    assert re.match(r"(not_an_image|decode_failed): ", reason(b"P6\n0 0\n255\n"))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_an_image_that_stops_early_is_refused(image_format, share):
    noise = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    data = encode(Image.fromarray(noise), image_format)
    assert re.match(r"(decode_failed|not_an_image): ", reason(data[: int(len(data) * share)]))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("image_format", sorted(FORMATS))
def test_no_odd_bytes_raise_anything_but_an_image_error(image_format):
    random = np.random.default_rng(5)
    image = picture(2, 24, 18)
    whole = np.frombuffer(encode(image, image_format), np.uint8)
    outcomes = set()
    for _ in range(120):
        broken = whole.copy()
        flips = random.integers(0, 8)
        reach = [len(whole), 64][random.integers(2)]
        broken[random.integers(0, min(reach, len(whole)), flips)] = random.integers(0, 256, flips)
        data = broken[: random.integers(len(whole) // 2, 2 * len(whole))].tobytes()
        outcomes.add(first := _outcome(data))
        assert _outcome(data) == first
    assert any(outcome.startswith("image") for outcome in outcomes)
    assert any(not outcome.startswith("image") for outcome in outcomes)


def _outcome(data: bytes) -> str:
    """The image's digest or the reason: the same on every run."""
    try:
        image = decode(data, 1_000_000)
    except ImageError as error:
        return _checked(str(error))
    assert image.mode == "RGB"
    return f"image {zlib.crc32(image.tobytes())}"


def _checked(words: str) -> str:
    assert re.match(r"(decode_failed|not_an_image|too_many_pixels): .", words)
    assert not re.search(r"^decode.*0x[0-9a-f]{6}", words)
    assert len(words) < 300
    return words


def test_reasons_hold_no_address():
    def fail(*_):
        raise OSError(f"cannot read {io.BytesIO()!r} at 0x7f00deadbeef\nand so on")

    image = open_image(png(1))
    image.load = fail
    with pytest.raises(ImageError) as caught:
        to_rgb(image)
    assert str(caught.value) == "decode_failed: cannot read … at … and so on"
