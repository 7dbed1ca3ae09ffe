import numpy as np
import torch

from trainer.stream.batch import as_images
from trainer.stream.slabs import Slabs


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_is_filled_again_once_nobody_holds_it():
    slabs = Slabs((2, 4, 4, 3), kept=1)
    one = slabs.take()
    where = address(one)
    assert one.shape == (2, 4, 4, 3)
    other = slabs.take()
    assert address(other) != where
    del one
    assert address(slabs.take()) == where


def test_a_tensor_over_it_or_a_part_of_that_holds_it():
    slabs = Slabs((2, 4, 4, 3), kept=4)
    array = slabs.take()
    where, part = address(array), as_images(array)[1:]
    del array
    assert address(slabs.take()) != where
    pixels = part.numpy()
    del part
    assert address(slabs.take()) != where
    del pixels
    assert address(slabs.take()) == where


def test_no_more_is_kept_than_was_asked_for():
    slabs = Slabs((8,), kept=2)
    held = [slabs.take() for _ in range(5)]
    del held
    assert len(slabs._free) == 2


def test_images_are_seen_as_tensors_without_a_copy():
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    images = as_images(pixels)
    assert images.shape == (2, 3, 4, 4)
    assert torch.equal(images.permute(0, 2, 3, 1), torch.from_numpy(pixels.copy()))
    pixels[1, 2, 3, 0] = 200
    assert images[1, 0, 2, 3] == 200
