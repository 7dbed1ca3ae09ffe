import math

import pytest
import torch

from trainer.objective import loss_sum_and_count, normalised_targets, patchify

B, GRID, PATCH = 3, 3, 2
K, P = GRID * GRID, 3 * PATCH * PATCH


def random_tensor(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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


def literal_loss(predictions, images, prefix):
    """Patch i, outside the prefix, is predicted at position i - 1; its loss is a mean."""
    total, count = 0.0, 0
    for b in range(len(images)):
        for i in range(1, K):
            if i >= prefix[b]:
                target, guess = literal_target(images[b], i), predictions[b, i - 1].tolist()
                squares = [(g - t) ** 2 for g, t in zip(guess, target, strict=True)]
                total, count = total + sum(squares) / P, count + 1
    return total, count


def test_patches_are_cut_row_by_row_in_row_column_channel_order():
    images = random_tensor(B, 3, GRID * PATCH, GRID * PATCH)
    literal = [[literal_patch(image, i) for i in range(K)] for image in images]
    assert patchify(images, PATCH).tolist() == literal


def test_an_image_that_patches_do_not_fill_is_refused():
    with pytest.raises(ValueError, match="patches of 4 do not fill an image of 6 x 6"):
        patchify(torch.zeros(1, 3, 6, 6), 4)


def test_targets_are_standardised_over_all_values_of_a_patch_with_the_unbiased_variance():
    images = 3 + 2 * random_tensor(B, 3, GRID * PATCH, GRID * PATCH)
    literal = [[literal_target(image, i) for i in range(K)] for image in images]
    torch.testing.assert_close(
        normalised_targets(images, PATCH), torch.tensor(literal, dtype=torch.float64)
    )


def test_a_flat_patch_has_the_target_zero():
    assert (normalised_targets(torch.full((1, 3, 6, 6), 0.7), PATCH).abs() < 1e-3).all()


@pytest.mark.parametrize("prefix", [[1, 1, 1], [1, 4, K - 1], [K - 1, K - 1, 2], [K, 3, 1]])
def test_loss_is_the_papers_written_with_loops(prefix):
    images = random_tensor(B, 3, GRID * PATCH, GRID * PATCH)
    predictions = random_tensor(B, K, P, seed=1)
    loss, count = loss_sum_and_count(predictions, images, torch.tensor(prefix))
    expected, expected_count = literal_loss(predictions, images, prefix)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert (count.item(), count.dtype) == (expected_count, torch.int64)


def test_validation_with_prefix_one_counts_every_patch_but_the_first():
    images, predictions = random_tensor(B, 3, 6, 6), random_tensor(B, K, P, seed=1)
    _, count = loss_sum_and_count(predictions, images, torch.ones(B, dtype=torch.int64))
    assert count == B * (K - 1)


def test_only_the_predictions_of_counted_patches_get_a_gradient():
    images, predictions = random_tensor(1, 3, 6, 6), random_tensor(1, K, P).requires_grad_()
    loss, _ = loss_sum_and_count(predictions, images, torch.tensor([4]))
    (gradient,) = torch.autograd.grad(loss, predictions)
    touched = (gradient != 0).any(dim=-1)[0].tolist()
    assert touched == [3 <= position < K - 1 for position in range(K)]


def test_what_is_predicted_inside_the_prefix_does_not_count_even_if_not_finite():
    images, predictions = random_tensor(1, 3, 6, 6), random_tensor(1, K, P)
    predictions[:, :3] = torch.nan
    loss, count = loss_sum_and_count(predictions, images, torch.tensor([4]))
    assert loss.isfinite()
    assert count == K - 4


def test_sums_of_parts_make_the_loss_of_the_whole_batch():
    images, predictions = random_tensor(4, 3, 6, 6), random_tensor(4, K, P, seed=1)
    prefix = torch.tensor([1, 8, 3, 5])
    whole = loss_sum_and_count(predictions, images, prefix)
    parts = [
        loss_sum_and_count(predictions[part], images[part], prefix[part])
        for part in (slice(0, 1), slice(1, 4))
    ]
    torch.testing.assert_close(sum(loss for loss, _ in parts), whole[0])
    assert sum(count for _, count in parts) == whole[1]


def test_half_precision_predictions_give_a_float32_loss():
    images, predictions = random_tensor(1, 3, 6, 6), random_tensor(1, K, P)
    loss, _ = loss_sum_and_count(predictions.bfloat16(), images.float(), torch.tensor([1]))
    assert loss.dtype == torch.float32


def test_predictions_of_another_number_of_patches_are_refused():
    with pytest.raises(ValueError, match="predictions"):
        loss_sum_and_count(torch.zeros(1, K + 1, P), torch.zeros(1, 3, 6, 6), torch.tensor([1]))
