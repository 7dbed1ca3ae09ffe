"""What a downloaded image becomes: itself, or a smaller JPEG."""

import hashlib
import io
import json

import pytest
from PIL import Image

from pipeline.fetch.picture import prepare
from pipeline.format.images import MAX_PIXELS, ImageError
from tests.pipeline.making import encode, picture


def test_without_resizing_the_bytes_stay_and_keep_their_extension():
    for kind, extension in {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif"}.items():
        data = encode(picture(1, 700, 400), kind)
        made = prepare(data, None, MAX_PIXELS)
        assert (made.data, made.extension) == (data, extension)
        assert (made.width, made.height) == (700, 400)
        assert (made.original_width, made.original_height) == (700, 400)


def test_a_larger_image_becomes_a_jpeg_of_the_longest_side_and_tells_what_it_was():
    data = encode(picture(2, 900, 601))
    made = prepare(data, 512, MAX_PIXELS)
    with Image.open(io.BytesIO(made.data)) as image:
        assert (image.format, image.size) == ("JPEG", (512, 342))
    assert made.extension == "jpg"
    assert (made.width, made.height) == (512, 342)
    assert (made.original_width, made.original_height) == (900, 601)
    assert made.sha256 == hashlib.sha256(data).hexdigest()


def test_an_image_that_fits_keeps_its_bytes():
    data = encode(picture(3, 512, 512))
    assert prepare(data, 512, MAX_PIXELS).data == data


def test_transparency_becomes_white():
    clear = Image.new("RGBA", (600, 600), (255, 0, 0, 0))
    made = prepare(encode(clear), 512, MAX_PIXELS)
    assert Image.open(io.BytesIO(made.data)).getpixel((200, 200)) == (255, 255, 255)


def turned(width: int, height: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    return encode(picture(4, width, height), "JPEG", exif=exif)


@pytest.mark.parametrize("resize", [None, 512])
def test_sizes_are_those_of_the_upright_image(resize):
    made = prepare(turned(900, 600), resize, MAX_PIXELS)
    assert (made.original_width, made.original_height) == (600, 900)
    assert made.width < made.height
    assert json.loads(made.exif or "") == {"Make": "Maker", "Orientation": "6"}


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"<html>", "not_an_image"),
        (encode(picture(5), "JPEG")[:-200], "decode_failed"),
        (encode(picture(6, 1200, 1000)), "too_many_pixels"),
    ],
)
@pytest.mark.parametrize("resize", [None, 50])
def test_what_is_no_image_is_an_error_with_its_kind(data, kind, resize):
    with pytest.raises(ImageError, match=kind):
        prepare(data, resize, 1_000_000)


def test_a_monstrous_exif_record_is_left_out():
    exif = Image.Exif()
    exif[0x010E] = "x" * 40_000
    assert prepare(encode(picture(7), "JPEG", exif=exif), None, MAX_PIXELS).exif is None
