"""Runs of a part, padded to full size."""

import numpy as np
import pytest
from PIL import Image

from pipeline.measure.batches import LONGEST, padded, picture, runs, whole
from pipeline.measure.image import ImageConfig
from pipeline.pool import source
from tests.pipeline.making import encode, png, tar_part

IMAGES = ImageConfig()


def test_a_part_is_cut_into_runs_in_order(tmp_path):
    members = {}
    for number in range(7):
        members |= {f"{number}.png": png(number), f"{number}.txt": f"words {number}".encode()}
    part = tar_part(tmp_path / "0.tar", members)
    found = list(runs(part, IMAGES, lambda row: np.array(int(row.key)), 3, frozenset({4})))
    assert [run.inputs for run in found] == [[0, 1, 2], [3, None, 5], [6]]
    captions = [caption for run in found for caption in run.captions]
    assert captions == [f"words {n}" for n in range(7)]


def test_a_part_without_images_has_no_runs(tmp_path):
    part = tar_part(tmp_path / "0.tar", bytes(1024))
    assert list(runs(part, IMAGES, lambda row: np.array(0), 3, frozenset())) == []


def test_slots_without_an_input_are_zeros():
    batch = padded([None, np.full((2, 2), 7, np.float32), None], 5)
    assert batch.shape == (5, 2, 2)
    assert batch.dtype == np.float32
    assert batch.any((1, 2)).tolist() == [False, True, False, False, False]
    assert padded([None, None], 5) is None


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (3, 1000), (64, 1), (50, 40)])
def test_a_strip_is_cut_to_its_middle(size, tmp_path):
    part = tar_part(tmp_path / "0.tar", {"a.png": encode(Image.new("RGB", size))})
    (row,) = source.read(part, IMAGES.max_bytes)
    assert whole(row, IMAGES).size == size
    most = LONGEST * min(size)
    assert picture(row, IMAGES).size == (min(size[0], most), min(size[1], most))
