"""Runs of a part, padded to full size."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from pipeline.measure.batches import LONGEST, ahead, padded, picture, runs, whole
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


@pytest.mark.parametrize("decoders", [1, 2, 5])
def test_rows_keep_their_order_whatever_thread_decodes_them(tmp_path, decoders):
    members = {f"{number:02d}.png": png(number, 8, 8) for number in range(23)}
    part = tar_part(tmp_path / "0.tar", members)

    def slow_first(row):
        time.sleep(0.02 * (int(row.key) % 3 == 0))
        return np.array(int(row.key))

    found = list(runs(part, IMAGES, slow_first, 5, frozenset({7}), decoders))
    inputs = [one for run in found for one in run.inputs]
    assert inputs == [None if n == 7 else n for n in range(23)]
    assert [len(run.inputs) for run in found] == [5, 5, 5, 5, 3]


def test_as_many_rows_are_decoded_at_once_as_there_are_decoders(tmp_path):
    part = tar_part(tmp_path / "0.tar", {f"{n}.png": png(n, 8, 8) for n in range(9)})
    together = threading.Barrier(3)

    def prepare(row):
        together.wait(10)  # a BrokenBarrierError, were there fewer
        return np.array(0)

    assert len(list(runs(part, IMAGES, prepare, 9, frozenset(), 3))) == 1


def test_one_item_is_made_ahead_while_another_is_worked_on_and_no_more():
    made = []
    second = threading.Event()

    def items():
        for number in range(5):
            made.append(number)
            if number == 1:
                second.set()
            yield number

    coming = ahead(items())
    assert next(coming) == 0
    assert second.wait(10)
    time.sleep(0.05)
    assert made == [0, 1]
    assert list(coming) == [1, 2, 3, 4]


def test_an_error_of_reading_is_raised_where_its_turn_comes():
    def items():
        yield 1
        raise OSError("the store is gone")

    coming = ahead(items())
    assert next(coming) == 1
    with pytest.raises(OSError, match="the store is gone"):
        next(coming)
