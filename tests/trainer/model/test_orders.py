import itertools

import pytest
import torch

from trainer.model.orders import ORDERS, Arrange, order

# Written down once: another draw would be another order under the same name.
FIXED_3 = [2, 4, 7, 1, 8, 6, 3, 0, 5]
FIXED_16 = [94, 243, 249, 149, 91, 235, 71, 42]


@pytest.mark.parametrize("kind", ORDERS)
def test_every_order_is_a_permutation_of_the_cells(kind):
    for grid in range(1, 17):
        cells = order(kind, grid)
        assert cells.dtype == torch.int64
        assert sorted(cells.tolist()) == list(range(grid**2)), grid


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        ("spiral", [0]),
        ("spiral", [1, 3, 2, 0]),
        ("spiral", [4, 1, 2, 5, 8, 7, 6, 3, 0]),
        ("spiral", [6, 10, 9, 5, 1, 2, 3, 7, 11, 15, 14, 13, 12, 8, 4, 0]),
        ("checkerboard", [0, 3, 1, 2]),
        ("checkerboard", [0, 2, 4, 6, 8, 1, 3, 5, 7]),
        ("checkerboard", [0, 2, 5, 7, 8, 10, 13, 15, 1, 3, 4, 6, 9, 11, 12, 14]),
        ("raster", [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("reversed_raster", [8, 7, 6, 5, 4, 3, 2, 1, 0]),
        ("column_major", [0, 3, 6, 1, 4, 7, 2, 5, 8]),
    ],
)
def test_small_orders_are_those_written_out_by_hand(kind, cells):
    assert order(kind, round(len(cells) ** 0.5)).tolist() == cells


def test_the_spiral_begins_in_the_centre_and_only_ever_goes_to_a_neighbour():
    places = [divmod(cell, 16) for cell in order("spiral", 16).tolist()]
    assert set(places[:4]) == {(7, 7), (7, 8), (8, 7), (8, 8)}
    assert places[-1] == (0, 0)
    steps = itertools.pairwise(places)
    assert all(abs(a - c) + abs(b - d) == 1 for (a, b), (c, d) in steps)


def test_the_random_order_is_the_same_in_every_run():
    torch.manual_seed(1)
    assert order("random_fixed", 3).tolist() == FIXED_3
    assert order("random_fixed", 16).tolist()[:8] == FIXED_16


def test_the_random_order_leaves_few_cells_in_place():
    cells = order("random_fixed", 16)
    assert (cells == torch.arange(256)).sum() < 8
    assert (cells.diff() == 1).sum() < 8


@pytest.mark.parametrize("kind", ORDERS)
def test_arranged_tokens_come_back_by_the_argsort_of_the_order(kind):
    tokens = torch.arange(2 * 16 * 3).view(2, 16, 3)
    cells = order(kind, 4)
    arranged = Arrange(kind, 4)(tokens)
    assert [torch.equal(arranged[:, i], tokens[:, c]) for i, c in enumerate(cells)] == [True] * 16
    assert torch.equal(arranged[:, cells.argsort()], tokens)


def test_the_order_is_not_in_the_state_dict_and_survives_the_meta_device():
    with torch.device("meta"):
        arrange = Arrange("spiral", 2)
    arrange.to_empty(device="cpu").reset_buffers()
    assert not arrange.state_dict()
    assert arrange(torch.arange(4).view(1, 4, 1)).flatten().tolist() == [1, 3, 2, 0]


def test_an_unknown_order_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"no order 'zigzag'; choose one of raster, .*_fixed"):
        order("zigzag", 4)
