import pytest
import torch

from trainer import pixels
from trainer.pixels import DEVIATION, MEAN, denormalise, normalise, unit

CPU = torch.device("cpu")


def all_values():
    """Every byte in every channel: (1, 3, 16, 16)."""
    return torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(1, 3, 1, 1)


def test_denormalise_gives_every_byte_back():
    assert torch.equal(denormalise(normalise(all_values(), CPU)), all_values())


def test_unit_gives_every_byte_back_as_a_part_of_one():
    torch.testing.assert_close(unit(normalise(all_values(), CPU)), all_values() / 255)


def test_normalised_pixels_are_the_formula_per_channel():
    images = torch.randint(
        0, 256, (2, 3, 4, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    found = normalise(images, CPU)
    assert found.dtype == torch.float32
    for channel in range(3):
        expected = (images[:, channel].double() / 255 - MEAN[channel]) / DEVIATION[channel]
        torch.testing.assert_close(found[:, channel].double(), expected, rtol=1e-6, atol=1e-6)


def test_other_figures_are_used_where_they_are_given():
    found = normalise(all_values(), CPU, mean=(0, 0.5, 1), deviation=(1, 0.5, 0.25))
    assert found[0, :, -1, -1].tolist() == pytest.approx([1, 1, 0])
    assert found[0, :, 0, 0].tolist() == pytest.approx([0, -1, -4])


def test_values_out_of_range_are_clipped_not_wrapped():
    images = torch.tensor([-100.0, 100.0]).reshape(1, 1, 1, 2).repeat(1, 3, 1, 1)
    assert denormalise(images)[0, :, 0].tolist() == [[0, 255]] * 3


def test_the_figures_are_brought_to_a_device_once(monkeypatch):
    normalise(all_values(), CPU)

    def copied(*_args, **_kwargs):
        raise AssertionError("a copy that a GPU waits for")

    monkeypatch.setattr(pixels.torch, "tensor", copied)
    normalise(all_values(), CPU)
    denormalise(torch.zeros(1, 3, 2, 2))
