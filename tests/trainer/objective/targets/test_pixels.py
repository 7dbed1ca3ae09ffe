import pytest
import torch

from tests.trainer.objective import dense
from trainer.objective.targets.pixels import Pixels

IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
WANTED = torch.tensor([8, 0, 9, 17])  # of 9 patches each
REFERENCES = [(True, dense.normalised), (False, dense.patches)]


@pytest.mark.parametrize(("normalised", "reference"), REFERENCES)
def test_the_values_are_those_of_the_wanted_patches(normalised, reference):
    found = Pixels(2, normalised).wanted_values(IMAGES, WANTED)
    torch.testing.assert_close(found, reference(IMAGES, 2).flatten(0, 1)[WANTED])


def test_the_loss_is_the_mean_of_a_patchs_squared_errors():
    target = Pixels(2, normalised=True)
    values = target.wanted_values(IMAGES, WANTED)
    off = torch.arange(12.0, dtype=torch.float64) * torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    expected = [scale**2 * sum(n**2 for n in range(12)) / 12 for scale in range(4)]
    assert target.losses(values + off, values).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("normalised", [True, False])
def test_what_is_predicted_rightly_is_painted_as_it_is(normalised):
    target = Pixels(2, normalised)
    painted = target.paint(target.wanted_values(IMAGES, WANTED), IMAGES, WANTED)
    torch.testing.assert_close(painted, dense.patches(IMAGES, 2).flatten(0, 1)[WANTED])


def test_a_flat_prediction_is_painted_with_the_true_patchs_mean():
    painted = Pixels(2, normalised=True).paint(torch.zeros(4, 12), IMAGES, WANTED)
    means = dense.patches(IMAGES, 2).flatten(0, 1)[WANTED].mean(dim=1, keepdim=True)
    torch.testing.assert_close(painted, means.expand(4, 12))
