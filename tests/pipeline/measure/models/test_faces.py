"""Faces: a real one is found where it is; nothing else stops the search."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.format.errors import HeadraceError
from pipeline.measure.image import ImageConfig
from pipeline.measure.models.config import ModelConfig, schema
from pipeline.measure.models.load import load
from tests.pipeline.making import encode, png, tar_part

IMAGES = ImageConfig()
CONFIG = ModelConfig(kind="mtcnn")
FACE = (Path(__file__).parents[3] / "data" / "face.jpg").read_bytes()


@pytest.fixture(scope="module")
def scorer():
    return load("faces", CONFIG)


def search(scorer, tmp_path, *images: bytes, **options) -> list[dict]:
    members = {f"{n}.png": data for n, data in enumerate(images)}
    table = scorer.score_part(tar_part(tmp_path / "0.tar", members), IMAGES, **options)
    assert table.schema == schema("faces", CONFIG)
    return table.to_pylist()


def on_canvas(size: tuple[int, int], at: tuple[int, int], **options) -> bytes:
    canvas = Image.new("RGB", size, "grey")
    canvas.paste(Image.open(io.BytesIO(FACE)), at)
    return encode(canvas, "JPEG", quality=95, **options)


def test_a_face_is_found_where_it_is(scorer, tmp_path):
    (row,) = search(scorer, tmp_path, FACE)
    assert row["faces_count"] == 1
    (box,) = row["faces_boxes"]
    np.testing.assert_allclose(box, [0.31, 0.25, 0.66, 0.68], atol=0.06)


def test_boxes_are_shares_of_the_sides_of_a_large_image(scorer, tmp_path):
    (row,) = search(scorer, tmp_path, on_canvas((1024, 512), (512, 256)))
    (box,) = row["faces_boxes"]
    x, y = 512 / 1024, 256 / 512
    wanted = [x + 0.31 / 8, y + 0.25 / 4, x + 0.66 / 8, y + 0.68 / 4]
    np.testing.assert_allclose(box, wanted, atol=0.015)


def test_boxes_are_those_of_the_upright_image(scorer, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    side = Image.open(io.BytesIO(FACE)).transpose(Image.Transpose.ROTATE_90)
    (row,) = search(scorer, tmp_path, encode(side, "JPEG", quality=95, exif=exif))
    np.testing.assert_allclose(row["faces_boxes"], [[0.31, 0.25, 0.66, 0.68]], atol=0.06)


def test_where_there_is_no_face_the_count_is_zero_and_a_bad_image_is_null(scorer, tmp_path):
    rows = search(scorer, tmp_path, png(1), b"<html>", FACE, FACE, bad=frozenset({3}))
    assert [row["faces_count"] for row in rows] == [0, None, 1, None]
    assert [row["faces_boxes"] is None for row in rows] == [False, True, False, True]


@pytest.mark.parametrize("size", [(1, 1), (1, 60_000), (60_000, 1), (11, 12), (20, 19), (3000, 21)])
def test_an_image_of_any_shape_is_searched(scorer, tmp_path, size):
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    (row,) = search(scorer, tmp_path, encode(Image.fromarray(noise), "PNG", compress_level=1))
    assert row["faces_count"] == 0


def test_boxes_are_the_same_in_another_scorer(scorer, tmp_path):
    first = search(scorer, tmp_path, FACE, png(2), on_canvas((300, 200), (90, 40)))
    again = search(load("faces", CONFIG), tmp_path, FACE, png(2), on_canvas((300, 200), (90, 40)))
    assert first == again
    assert first[2]["faces_count"] == 1


def test_a_part_without_images_has_no_rows(scorer, tmp_path):
    assert search(scorer, tmp_path) == []


def test_without_opencv_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(HeadraceError, match=r"measure\.models\.m: .*`pip install 'headrace\[safet"):
        load("m", CONFIG)
