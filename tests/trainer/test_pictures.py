import pytest
import torch
from PIL import Image
from torch import nn

from trainer.objective import normalised_targets, patchify
from trainer.pictures import SCALE, predict, save_grid, unpatchify
from trainer.pixels import normalise

CPU = torch.device("cpu")


def noise(count, side):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


class Oracle(nn.Module):
    """Knows the next patch: its prediction i is the target i + 1, the last one is nonsense."""

    def forward(self, images, prefix):
        assert (prefix == 1).all(), "pictures are of the causal model"
        return normalised_targets(images, 4).roll(-1, dims=1)


class Ignorant(nn.Module):
    """Predicts every patch as flat."""

    def forward(self, images, prefix):
        return torch.zeros_like(patchify(images, 4))


@pytest.mark.parametrize(("side", "patch"), [(8, 4), (12, 3), (12, 12), (6, 1)])
def test_unpatchify_inverts_patchify(side, patch):
    images = noise(2, side).float()
    assert torch.equal(unpatchify(patchify(images, patch), side // patch), images)


def test_a_model_that_knows_the_next_patch_draws_the_image():
    images = normalise(noise(3, 12), CPU)
    torch.testing.assert_close(predict(Oracle(), images, 4), images, rtol=0, atol=1e-5)


def test_a_model_that_knows_nothing_draws_the_first_patch_and_the_means_of_the_others():
    images = normalise(noise(1, 12), CPU)
    drawn = predict(Ignorant(), images, 4)
    assert torch.equal(drawn[..., :4, :4], images[..., :4, :4])
    for row, column in ((0, 1), (1, 0), (2, 2)):
        box = (..., slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4))
        torch.testing.assert_close(drawn[box], images[box].mean().expand(1, 3, 4, 4))


def test_the_grid_shows_the_images_above_their_predictions(tmp_path):
    images = noise(3, 8)
    path = tmp_path / "pictures" / "00000001.png"
    save_grid(path, normalise(images, CPU), normalise(255 - images, CPU))
    with Image.open(path) as picture:
        assert picture.size == (3 * 8 * SCALE, 2 * 8 * SCALE)
        for number, x, y in ((0, 0, 0), (2, 7, 3), (1, 4, 7)):
            pixel = images[number, :, y, x].tolist()
            left = (8 * number + x) * SCALE
            assert picture.getpixel((left, y * SCALE)) == tuple(pixel)
            assert picture.getpixel((left, (8 + y) * SCALE)) == tuple(255 - v for v in pixel)
