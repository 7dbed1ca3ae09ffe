"""Frames are counted without being decoded."""

import struct
import time

import pytest

from pipeline.format.images import open_image
from pipeline.measure.frames import MOST, count
from tests.pipeline.making import encode, picture


def counted(data: bytes) -> int:
    return count(open_image(data), data)


def animation(image_format: str, frames: int, **options) -> bytes:
    first, *others = [picture(number, 20, 16) for number in range(frames)]
    return encode(first, image_format, save_all=True, append_images=others, **options)


@pytest.mark.parametrize("frames", [1, 2, 9])
@pytest.mark.parametrize(
    ("image_format", "options"),
    [
        ("GIF", {}),
        ("GIF", {"comment": b"x" * 700, "loop": 0}),
        ("PNG", {}),
        ("WEBP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"big_tiff": True}),
    ],
)
def test_frames_are_counted_in_every_format_that_has_them(image_format, options, frames):
    assert counted(animation(image_format, frames, **options)) == frames


@pytest.mark.parametrize("image_format", ["JPEG", "BMP", "PPM", "JPEG2000"])
def test_other_images_have_one(image_format):
    assert counted(encode(picture(1), image_format)) == 1


def test_pictures_behind_a_phones_jpeg_are_no_frames():
    assert counted(encode(picture(1), "MPO", save_all=True, append_images=[picture(2)])) == 1


GIF = b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0x80, 0, 0) + bytes(6)
FRAME = b"\x2c" + struct.pack("<HHHH", 0, 0, 4, 4) + b"\0" + b"\x02\x02\x44\x01\0"


def test_what_a_broken_gif_only_promises_is_not_counted():
    assert counted(GIF + FRAME * 3 + b";") == 3
    assert counted(GIF + FRAME * 3 + b"\x99" + FRAME) == 3
    assert counted(GIF + FRAME * 2 + FRAME[:8]) == 2
    assert counted(GIF + FRAME[:-3]) == 1


@pytest.mark.parametrize(
    "tail",
    [
        FRAME * 1_000_000,
        FRAME[:11] + b"\x01\x44" * 8_000_000,
        b"\x21\xfe" + b"\x01x" * 8_000_000,
        b"\x21\xfe\x00" * 8_000_000,
    ],
    ids=["frames", "a frame of tiny blocks", "a comment of tiny blocks", "empty comments"],
)
def test_a_file_made_to_be_counted_forever_is_left_soon(tail):
    data = GIF + FRAME + tail
    image = open_image(GIF + FRAME)
    began = time.process_time()
    assert 1 <= count(image, data) <= MOST
    assert time.process_time() - began < 2


def test_a_tiff_whose_pages_go_round_is_counted_once():
    data = bytearray(animation("TIFF", 2))
    order = "<" if data[:2] == b"II" else ">"
    first = struct.unpack_from(order + "I", data, 4)[0]
    after = first + 2 + 12 * struct.unpack_from(order + "H", data, first)[0]
    second = struct.unpack_from(order + "I", data, after)[0]
    last = second + 2 + 12 * struct.unpack_from(order + "H", data, second)[0]
    struct.pack_into(order + "I", data, last, first)
    assert counted(bytes(data)) == 2
    struct.pack_into(order + "I", data, last, 2**32 - 1)
    assert counted(bytes(data)) == 2


def test_a_png_that_promises_a_billion_frames_has_the_most():
    data = animation("PNG", 2)
    at = data.index(b"acTL") + 4
    image = open_image(data)
    image.n_frames = 10**9
    assert at > 4
    assert count(image, data) == MOST
