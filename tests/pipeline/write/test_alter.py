"""Altering images at write time: faces by their pixels, sizes, encodings, and what is let be."""

import hashlib
import io
import json
import math

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from pipeline.format.images import decode, open_image
from pipeline.write.alter import AlterConfig, alter, blur, columns, finish, usable
from tests.pipeline.making import encode, picture, png

BLUR = AlterConfig(blur_faces="face_bboxes")
NAN, INF = math.nan, math.inf


def noise(width: int = 200, height: int = 160) -> Image.Image:
    values = np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decode(data), np.float64)


def gaussian(sigma: float, length: int) -> np.ndarray:
    places = np.arange(length) - length // 2
    weights = np.exp(-(places**2) / (2 * sigma**2))
    return weights / weights.sum()


# what is blurred


def test_inside_a_box_the_noise_is_gone_and_beyond_its_soft_edge_nothing_changes():
    box = [0.4, 0.25, 0.6, 0.75]  # 40 x 80 pixels of 200 x 160, so 8 more on every edge
    before = np.asarray(noise(), np.float64)
    altered = alter(encode(noise()), [box], BLUR)
    after = pixels(altered.data)
    inside = np.s_[40:120, 80:120]
    assert after[inside].std() < before[inside].std() / 10
    reach = math.ceil(3 * 8) + 3
    outside = np.ones(before.shape[:2], bool)
    outside[max(40 - 8 - reach, 0) : 120 + 8 + reach, 80 - 8 - reach : 120 + 8 + reach] = False
    assert outside.any()
    assert np.array_equal(after[outside], before[outside])


def test_the_box_grows_by_a_tenth_of_its_longer_side_and_its_edge_is_soft():
    step = Image.new("RGB", (400, 400), "black")
    step.paste("white", (0, 0, 400, 200))  # the blur shows as grey along row 200
    box = (0.3, 0.4, 0.7, 0.6)  # 160 x 80 pixels: 16 more on every edge, sigma 16
    after = np.asarray(blur(step, [box]), np.float64)[195, :, 0]
    changed = np.flatnonzero(after < 255)
    assert 120 - 16 - 3 * 16 - 3 <= changed[0] < 120 - 16  # beyond the grown box, within 3 sigmas
    assert changed[-1] == 399 - changed[0]
    depth = 255 - after
    # Half as deep in the middle of the soft edge, which is the border of the grown box.
    assert depth[104] == pytest.approx(depth[200] / 2, rel=0.1)


def test_sigma_is_a_tenth_of_the_longest_side_of_all_boxes():
    line = np.zeros((301, 301, 3), np.uint8)
    line[:, 140:161] = 255
    wide, small = (0.2, 0.2, 0.8, 0.8), (0.4, 0.4, 0.6, 0.6)
    for boxes, sigma in (([small], 0.02 * 301), ([small, wide], 0.06 * 301)):
        after = np.asarray(blur(Image.fromarray(line), boxes), np.float64)[150, 150, 0]
        meant = np.convolve(line[150, :, 0].astype(float), gaussian(sigma, 301), "same")[150]
        assert after == pytest.approx(meant, rel=0.06)


def test_pillows_blur_is_close_to_the_gaussian_that_is_meant():
    values = np.zeros((201, 201), np.uint8)
    values[:, 90:111] = 255
    image = Image.merge("RGB", [Image.fromarray(values)] * 3)
    after = np.asarray(blur(image, [(0.0, 0.0, 1.0, 1.0)]), np.float64)[100, :, 0]
    meant = np.convolve(values[100].astype(float), gaussian(20.1, 201), "same")
    middle = np.s_[60:141]
    assert np.abs(after[middle] - meant[middle]).max() < 0.06 * meant.max()


def test_several_faces_are_all_blurred():
    before, boxes = noise(), [[0.05, 0.1, 0.15, 0.2], [0.8, 0.8, 0.9, 0.9]]
    after = pixels(alter(encode(before), boxes, BLUR).data)
    for left, top, right, bottom in boxes:
        face = np.s_[round(top * 160) : round(bottom * 160), round(left * 200) : round(right * 200)]
        assert after[face].std() < np.asarray(before)[face].std() / 2


@pytest.mark.parametrize(
    "box",
    [
        [NAN, 0.1, 0.5, 0.5],
        [None, 0.1, 0.5, 0.5],
        [0.1, 0.1, 0.5],
        [],
        None,
        [0.3, 0.3, 0.3, 0.9],
        [1.5, 1.5, 2.0, 2.0],
        [-INF, -INF, -1.0, -1.0],
    ],
)
def test_a_box_that_holds_nothing_is_not_there(box):
    assert usable([box]) == []
    assert alter(png(1), [box], BLUR) is None
    assert usable([box, [0.1, 0.1, 0.2, 0.2]]) == [(0.1, 0.1, 0.2, 0.2)]


def test_a_box_is_turned_the_right_way_and_cut_at_the_image():
    assert usable([[0.7, 0.9, 0.2, 0.1]]) == [(0.2, 0.1, 0.7, 0.9)]
    assert usable([[-INF, -3, 0.5, INF]]) == [(0, 0, 0.5, 1)]
    huge, whole = blur(noise(), usable([[-1e30, -1e30, 1e30, 1e30]])), blur(noise(), [(0, 0, 1, 1)])
    assert huge.tobytes() == whole.tobytes()


def test_a_face_of_less_than_a_pixel_is_no_trouble():
    assert alter(encode(noise()), [[0.5, 0.5, 0.5001, 0.5001]], BLUR).width == 200


# what is let be


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_an_image_that_needs_nothing_is_not_touched(image_format):
    data = encode(picture(1), image_format)
    config = AlterConfig(blur_faces="face_bboxes", max_side=96)
    for boxes in (None, []):
        assert alter(data, boxes, config) is None
    row = {"format": image_format, "meta": '{"width":1}', "face_bboxes": None}
    image, _, meta = finish(data, row, config)
    assert image is data
    assert meta is row["meta"]


def test_without_a_config_boxes_are_not_even_looked_at():
    row = {"format": "JPEG", "meta": "{}", "face_bboxes": [[0, 0, 1, 1]]}
    data = encode(picture(1), "JPEG")
    assert finish(data, row, AlterConfig()) == (data, "jpg", "{}")
    assert columns(AlterConfig(max_side=9)) == set()
    assert columns(BLUR) == {"face_bboxes"}


def test_the_same_input_gives_the_same_bytes():
    config = AlterConfig(blur_faces="face_bboxes", max_side=64)
    for image_format in ("JPEG", "PNG", "WEBP"):
        data = encode(picture(2), image_format)
        once, again = (alter(data, [[0.2, 0.2, 0.6, 0.6]], config) for _ in range(2))
        assert once == again
        assert once.data != data


# size


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((300, 200), (120, 80)),
        ((200, 300), (80, 120)),
        ((1000, 3), (120, 1)),
        ((121, 121), (120,) * 2),
    ],
)
def test_the_longer_side_shrinks_and_the_ratio_stays(size, wanted):
    altered = alter(encode(picture(1, *size)), None, AlterConfig(max_side=120))
    assert (altered.width, altered.height) == wanted == decode(altered.data).size


def test_nothing_grows():
    assert alter(png(1, 96, 72), None, AlterConfig(max_side=97)) is None


def test_shrinking_averages_areas():
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    board = Image.fromarray(checks.astype(np.uint8)).convert("RGB")
    after = pixels(alter(encode(board), None, AlterConfig(max_side=16)).data)
    assert np.abs(after[1:-1, 1:-1] - 127.5).max() < 3


@pytest.mark.parametrize("turn", [1, 3, 6, 8])
@pytest.mark.parametrize("size", [(800, 600), (513, 400), (260, 200)])
def test_a_jpeg_decoded_at_a_part_of_its_size_looks_as_if_it_were_not(size, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    image, config = picture(4, *size), AlterConfig(max_side=128)
    one, other = (
        alter(encode(image, kind, exif=exif, **options), None, config)
        for kind, options in (("JPEG", {"quality": 98}), ("PNG", {}))
    )
    assert (one.width, one.height) == (other.width, other.height)
    assert np.abs(pixels(one.data) - pixels(other.data)).mean() < 3


# what an image is, and becomes


@pytest.mark.parametrize(
    ("image_format", "extension"),
    [
        ("JPEG", "jpg"),
        ("PNG", "png"),
        ("WEBP", "webp"),
        ("GIF", "png"),
        ("BMP", "png"),
        ("TIFF", "png"),
    ],
)
def test_an_altered_image_keeps_its_format_where_that_can_be_written(image_format, extension):
    data = encode(picture(1, 300, 200), image_format)
    altered = alter(data, None, AlterConfig(max_side=100))
    assert altered.extension == extension
    assert {"JPEG": "jpg"}.get(open_image(altered.data).format) in (None, extension)
    near = np.abs(pixels(altered.data) - pixels(encode(decode(data).resize((100, 67), 5))))
    assert near.mean() < 3


def test_a_side_too_long_for_a_format_ends_as_a_png():
    long = encode(Image.new("RGB", (17_000, 2)), "JPEG")
    config = AlterConfig.model_validate({"reencode": {"format": "webp"}})
    assert alter(long, None, config).extension == "png"


def test_the_orientation_is_applied_and_boxes_mean_the_upright_image():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter to the right when shown
    lying = noise(200, 100)
    data = encode(lying, "PNG", exif=exif)
    upright = pixels(data)
    assert upright.shape == (200, 100, 3)
    altered = alter(data, [[0.0, 0.0, 0.4, 0.2]], BLUR)
    assert (altered.width, altered.height) == (100, 200)
    assert not open_image(altered.data).getexif()
    after = pixels(altered.data)
    assert after[:40, :40].std() < upright[:40, :40].std() / 2
    assert np.array_equal(after[100:], upright[100:])


def test_alpha_and_cmyk_come_out_as_training_sees_them():
    clear = Image.new("RGBA", (320, 320), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 160, 320))
    cmyk = picture(3, 320, 320).convert("CMYK")
    for data in (encode(clear), encode(cmyk, "JPEG", quality=95)):
        altered = alter(data, None, AlterConfig(max_side=160))
        assert open_image(altered.data).mode == "RGB"
        seen = np.asarray(decode(data).resize((160, 160), Image.Resampling.HAMMING), np.float64)
        assert np.abs(pixels(altered.data) - seen).mean() < 2


def test_nothing_of_the_old_files_metadata_goes_along():
    marks = PngImagePlugin.PngInfo()
    marks.add_text("comment", "secret")
    sink = io.BytesIO()
    picture(1).save(sink, "PNG", pnginfo=marks, icc_profile=b"not a profile")
    jpeg = encode(picture(1), "JPEG", comment="secret", icc_profile=b"not a profile")
    for data in (sink.getvalue(), jpeg):
        altered = alter(data, None, AlterConfig(max_side=50)).data
        assert b"secret" not in altered
        assert b"not a profile" not in altered


# encoding anew


@pytest.mark.parametrize("wanted", ["jpeg", "webp", "png"])
def test_every_image_gets_the_wanted_format(wanted):
    config = AlterConfig.model_validate({"reencode": {"format": wanted, "quality": 80}})
    for image_format in ("JPEG", "PNG", "GIF"):
        altered = alter(encode(picture(1), image_format), None, config)
        assert open_image(altered.data).format == wanted.upper()
        assert (altered.width, altered.height) == (96, 72)


def test_a_second_lossless_encoding_changes_nothing():
    config = AlterConfig.model_validate({"reencode": {"format": "png"}})
    once = alter(encode(picture(1), "JPEG"), None, config)
    assert np.array_equal(pixels(once.data), pixels(encode(picture(1), "JPEG")))
    assert alter(once.data, None, config) == once


def test_quality_is_obeyed():
    sizes = []
    for quality in (30, 95):
        config = AlterConfig.model_validate({"reencode": {"format": "jpeg", "quality": quality}})
        sizes.append(len(alter(png(1), None, config).data))
    assert sizes[0] < sizes[1] / 2


# the json beside it


def test_the_json_tells_the_new_size_and_goes_on_telling_of_the_download():
    data = encode(picture(1, 300, 200), "JPEG")
    told = {"sha256": hashlib.sha256(data).hexdigest(), "original_width": 900, "width": 300, "é": 1}
    row = {"format": "JPEG", "meta": json.dumps(told)}
    _, extension, meta = finish(data, row, AlterConfig(max_side=150))
    assert extension == "jpg"
    assert json.loads(meta) == told | {"width": 150, "height": 100}
    _, _, bare = finish(data, row | {"meta": "{}"}, AlterConfig(max_side=150))
    assert bare == '{"height":100,"width":150}'
