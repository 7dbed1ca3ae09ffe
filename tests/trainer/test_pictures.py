import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from tests.trainer.objective import dense
from trainer.model.sizes import ModelConfig
from trainer.objective import fixed
from trainer.objective.config import ObjectiveConfig
from trainer.objective.objective import Objective
from trainer.objective.targets.kmeans import KMeans
from trainer.pictures import HIDDEN, SCALE, draw, save_grid
from trainer.pixels import denormalise, normalise

CPU = torch.device("cpu")
SHAPE = ModelConfig(image_size=12, patch_size=3, embed_dim=16, depth=1, num_heads=2)
K, GRID, SIDE = 16, 4, 3
KINDS = [
    {},
    {"attention": "causal"},
    {"order": "spiral"},
    {"target": {"kind": "pixels"}},
    {"kind": "masked"},
]


def noise(count, side=12):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


def objective(**fields):
    return Objective(ObjectiveConfig(**fields), SHAPE, 0)


class Oracle(nn.Module):
    """Knows every patch: of the rows that are wanted it gives the truth about them."""

    def __init__(self, chosen):
        super().__init__()
        self.chosen = chosen

    def forward(self, images, prefix, rows, masked):
        raw = self.chosen.config.target.kind == "pixels"
        truth = (dense.patches if raw else dense.normalised)(images, SIDE)
        truth = truth[:, torch.from_numpy(self.chosen.order)]
        if masked is None:
            truth = truth.roll(-1, dims=1)
        return truth.flatten(0, 1)[rows]


class Ignorant(nn.Module):
    """Predicts every patch as flat."""

    def forward(self, images, prefix, rows, masked):
        return torch.zeros(len(rows), 3 * SIDE**2)


def box(cell):
    row, column = divmod(cell, GRID)
    y, x = SIDE * row, SIDE * column
    return (..., slice(y, y + SIDE), slice(x, x + SIDE))


@pytest.mark.parametrize("fields", KINDS)
def test_a_model_that_knows_every_patch_draws_the_image_and_no_error(fields):
    chosen, images = objective(**fields), noise(3)
    true, _, predicted, error = draw(Oracle(chosen), chosen, normalise(images, CPU))
    assert torch.equal(true, images)
    assert torch.equal(predicted, images)
    assert (error == 0).all()


@pytest.mark.parametrize("fields", KINDS)
def test_what_the_model_is_not_shown_is_grey_and_is_what_it_predicts(fields):
    chosen, images = objective(**fields), noise(3)
    _, shown, predicted, error = draw(Ignorant(), chosen, normalise(images, CPU))
    task = fixed.pictured(chosen, 3)
    grey = denormalise(torch.full((1, 3, SIDE, SIDE), HIDDEN))[0]
    hidden = set(task.wanted.tolist())
    assert len(hidden) == 3 * K // 2
    for number in range(3):
        for cell in range(K):
            place = (number, *box(cell))
            if number * K + cell in hidden:
                assert torch.equal(shown[place], grey)
                assert (error[place] > 0).any()
            else:
                assert torch.equal(shown[place], images[place])
                assert torch.equal(predicted[place], images[place])
                assert (error[place] == 0).all()


def test_a_flat_prediction_is_drawn_with_the_true_patchs_mean():
    images = normalise(noise(1), CPU)
    predicted = draw(Ignorant(), objective(), images)[2]
    for cell in (8, 11, 15):
        mean = images[box(cell)].mean()
        assert torch.equal(predicted[box(cell)], denormalise(mean.expand(1, 3, SIDE, SIDE)))


def test_a_codebooks_numbers_are_drawn_as_its_patches():
    chosen, images = objective(), normalise(noise(2), CPU)
    codebook = dense.normalised(images, SIDE).flatten(0, 1)  # each patch is its own centroid
    chosen.target = KMeans(codebook, SIDE)

    class Numbers(nn.Module):
        def forward(self, images, prefix, rows, masked):
            return F.one_hot(rows + 1, len(codebook)).float()

    true, _, predicted, _ = draw(Numbers(), chosen, images)
    assert torch.equal(true, predicted)


def test_errors_are_drawn_from_black_through_red_and_yellow_to_white():
    true = torch.full((1, 3, 12, 12), 255, dtype=torch.uint8)

    class Dimmer(nn.Module):
        """Cell 8 right, 9 to 11 darker by a sixth, a third and a half."""

        def forward(self, images, prefix, rows, masked):
            values = torch.ones(len(rows), SIDE**2, 3)
            values[1:4] -= torch.tensor([1, 2, 3])[:, None, None] / 6
            flat = values.reshape(len(rows), SIDE, SIDE, 3).permute(0, 3, 1, 2)
            return normalise((flat * 255).round(), CPU).permute(0, 2, 3, 1).flatten(1)

    error = draw(Dimmer(), objective(target={"kind": "pixels"}), normalise(true, CPU))[3]
    colours = [error[box(cell)][0, :, 0, 0].float() for cell in (8, 9, 10, 11)]
    expected = torch.tensor([[0, 0, 0], [255, 0, 0], [255, 255, 0], [255, 255, 255]]).float()
    torch.testing.assert_close(torch.stack(colours), expected, rtol=0, atol=4)


def test_the_grid_shows_the_rows_below_each_other(tmp_path):
    rows = torch.stack([noise(3, 8), 255 - noise(3, 8)])
    path = tmp_path / "pictures" / "00000001.png"
    save_grid(path, rows)
    with Image.open(path) as picture:
        assert picture.size == (3 * 8 * SCALE, 2 * 8 * SCALE)
        for number, x, y in ((0, 0, 0), (2, 7, 3), (1, 4, 7)):
            left = (8 * number + x) * SCALE
            for row in range(2):
                pixel = tuple(rows[row, number, :, y, x].tolist())
                assert picture.getpixel((left, (8 * row + y) * SCALE)) == pixel
