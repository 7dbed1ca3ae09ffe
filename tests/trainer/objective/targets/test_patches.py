import math

import pytest
import torch

from trainer.objective.targets.patches import patchify, standardise, take, unpatchify

B, GRID, PATCH = 3, 3, 2
K, P = GRID * GRID, 3 * PATCH * PATCH


def random_images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def literal_patch(image, number):
    """Patch `number`, raster order, as a list in (row, column, channel) order."""
    row, column = divmod(number, GRID)
    return [
        image[c, row * PATCH + y, column * PATCH + x].item()
        for y in range(PATCH)
        for x in range(PATCH)
        for c in range(3)
    ]


def literal_target(image, number):
    values = literal_patch(image, number)
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return [(v - mean) / math.sqrt(variance + 1e-6) for v in values]


def test_patches_are_cut_row_by_row_in_row_column_channel_order():
    images = random_images(B, 3, GRID * PATCH, GRID * PATCH)
    literal = [[literal_patch(image, i) for i in range(K)] for image in images]
    assert patchify(images, PATCH).tolist() == literal


def test_channels_last_in_memory_changes_nothing():
    images = random_images(B, 3, GRID * PATCH, GRID * PATCH)
    last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(patchify(last, PATCH), patchify(images, PATCH))


def test_an_image_that_patches_do_not_fill_is_refused():
    with pytest.raises(ValueError, match="patches of 4 do not fill an image of 6 x 6"):
        patchify(torch.zeros(1, 3, 6, 6), 4)


@pytest.mark.parametrize(("side", "patch"), [(8, 4), (12, 3), (12, 12), (6, 1)])
def test_unpatchify_inverts_patchify(side, patch):
    images = random_images(2, 3, side, side)
    assert torch.equal(unpatchify(patchify(images, patch), side // patch), images)


def test_patches_are_standardised_over_all_values_with_the_unbiased_variance():
    images = 3 + 2 * random_images(B, 3, GRID * PATCH, GRID * PATCH)
    literal = [[literal_target(image, i) for i in range(K)] for image in images]
    found = standardise(patchify(images, PATCH))
    torch.testing.assert_close(found, torch.tensor(literal, dtype=torch.float64))


def test_the_variance_has_an_epsilon_of_a_millionth():
    """Of 1e-5, a patch this faint would come out at a third."""
    faint = torch.tensor([[1e-3, -1e-3] * 6], dtype=torch.float64)
    variance = 12 / 11 * 1e-6
    assert standardise(faint)[0, 0].item() == pytest.approx(1e-3 / math.sqrt(variance + 1e-6))


def test_a_flat_patch_becomes_zero():
    assert (standardise(patchify(torch.full((1, 3, 6, 6), 0.7), 2)).abs() < 1e-3).all()


def test_patches_are_taken_by_their_number_through_the_batch_at_float32_or_better():
    images = random_images(B, 3, GRID * PATCH, GRID * PATCH)
    found = take(images, PATCH, torch.tensor([K + 4, 2]))
    assert found.tolist() == [literal_patch(images[1], 4), literal_patch(images[0], 2)]
    assert take(images.bfloat16(), PATCH, torch.tensor([0])).dtype == torch.float32
