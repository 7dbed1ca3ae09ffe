from dataclasses import fields

import numpy as np
import pytest
import torch

from trainer.objective.task import SHAPES, predict_masked, predict_next

ORDER = np.array([2, 0, 3, 1])  # cells of the four positions


def test_the_patches_after_the_prefix_are_asked_at_the_positions_before_them():
    task = predict_next(np.array([1, 3]), ORDER)
    assert task.prefix.tolist() == [1, 3]
    assert task.rows.tolist() == [0, 1, 2, 4 + 2]
    assert task.wanted.tolist() == [0, 3, 1, 4 + 1]
    assert (task.weights, task.masked) == (None, None)


def test_a_masked_patch_is_asked_at_its_own_position_and_all_are_seen():
    task = predict_masked(np.array([[True, False, False], [False, True, True]]))
    assert task.prefix.tolist() == [3, 3]
    assert task.rows.tolist() == task.wanted.tolist() == [0, 4, 5]
    assert task.masked.tolist() == [[True, False, False], [False, True, True]]


def test_padding_weighs_nothing_and_points_at_the_first_row():
    task = predict_next(np.array([3, 2, 4, 4]), ORDER, padded=True)  # parts of 16 / 8 rows
    assert task.rows.tolist() == [2, 5, 6, 0]
    assert task.wanted.tolist() == [1, 4 + 3, 4 + 1, 0]
    assert task.weights.tolist() == [1, 1, 1, 0]
    assert task.weights.dtype == torch.float32


@pytest.mark.parametrize(("images", "patches"), [(1, 4), (3, 9), (8, 16), (5, 64)])
def test_padded_tasks_have_few_shapes_and_lose_nothing(images, patches):
    sizes, order = set(), np.arange(patches)
    for draw in range(300):
        prefix = np.random.default_rng(draw).integers(1, patches, images)
        task, exact = predict_next(prefix, order, padded=True), predict_next(prefix, order)
        sizes.add(len(task.rows))
        counted = task.weights == 1
        assert torch.equal(task.rows[counted], exact.rows)
        assert torch.equal(task.wanted[counted], exact.wanted)
        assert (~counted).sum() < -(-images * patches // SHAPES)
    for extreme in (1, patches - 1):
        sizes.add(len(predict_next(np.full(images, extreme), order, padded=True).rows))
    assert len(sizes) <= SHAPES
    assert all(size > 0 for size in sizes)


def test_a_task_that_asks_nothing_still_has_rows_for_the_model():
    for task in (
        predict_next(np.array([4, 4]), ORDER, padded=True),
        predict_masked(np.zeros((2, 4), bool), padded=True),
    ):
        assert task.weights.tolist() == [0]
        assert task.rows.tolist() == [0]


def test_a_prefix_of_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing comes before the first"):
        predict_next(np.array([1, 0]), ORDER)


def test_all_of_a_task_moves_to_a_device():
    whole = predict_masked(np.array([[True, False, False]]), padded=True)
    moved = whole.to(torch.device("meta"))
    for field in fields(moved):
        there = getattr(moved, field.name)
        assert there.device.type == "meta", field.name
        assert there.dtype == getattr(whole, field.name).dtype
    assert predict_next(np.array([1]), ORDER).to(torch.device("meta")).weights is None
