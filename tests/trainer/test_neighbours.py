"""The vote of the nearest neighbours, against numpy that sorts everything."""

import math

import numpy as np
import pytest
import torch

from trainer import neighbours
from trainer.neighbours import Neighbours, nearest, pooled, votes

CLASSES = 7


def planted(n, seed, width=4):
    """Features of few exact values, so that many cosines are equal to the bit, zero among them."""
    words = np.random.default_rng(seed)
    return words.integers(-2, 3, (n, width)).astype(np.float32) / 4


def literal(queries, keys, k):
    """(cosines, numbers): a stable sort of all of them."""
    products = queries.astype(np.float64) @ keys.astype(np.float64).T
    numbers = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(products, numbers, axis=1), numbers


def literal_right(cosines, numbers, labels, wanted, temperature):
    top = [0, 0]
    for row, mine, own in zip(cosines, numbers, wanted, strict=True):
        scores = {}
        for cosine, number in zip(row, mine, strict=True):
            label = labels[number]
            scores[label] = scores.get(label, 0) + math.exp(cosine / temperature)
        told = sorted(scores, key=lambda label: (-scores[label], label))
        top[0] += own == told[0]
        top[1] += own in told[:5]
    return tuple(top)


def chunked(keys, size):
    return [torch.from_numpy(keys[at : at + size]) for at in range(0, len(keys), size)]


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize("k", [1, 5, 60])
@pytest.mark.parametrize("at_once", [1, 300, 1 << 24])
def test_the_nearest_are_those_of_a_whole_sort_and_ties_go_by_number(monkeypatch, size, k, at_once):
    monkeypatch.setattr(neighbours, "AT_ONCE", at_once)
    queries, keys = planted(40, 1), planted(200, 2)
    cosines, numbers = literal(queries, keys, k)
    found = nearest(torch.from_numpy(queries), chunked(keys, size), k)
    assert k == 1 or (cosines[:, :-1] == cosines[:, 1:]).mean() > 0.5, "ties were planted"
    np.testing.assert_array_equal(found.numbers, numbers)
    np.testing.assert_array_equal(found.cosines, cosines)


def test_all_signs_and_sizes_of_cosines_are_ordered():
    keys = torch.tensor([[-1.0], [0.0], [-0.0], [1e-30], [-1e-30], [1.0], [-0.5], [0.5]])
    found = nearest(torch.ones(1, 1), [keys], 8)
    assert found.numbers.tolist() == [[5, 7, 3, 1, 2, 4, 6, 0]]
    assert found.cosines.tolist() == [keys[found.numbers[0], 0].tolist()]


def test_a_set_smaller_than_k_gives_what_it_has():
    found = nearest(torch.from_numpy(planted(3, 1)), chunked(planted(4, 2), 3), 10)
    assert found.numbers.shape == (3, 4)


@pytest.mark.parametrize("k", [1, 3, 20, 200])
def test_the_vote_is_that_of_one_query_after_the_other(monkeypatch, k):
    monkeypatch.setattr(neighbours, "AT_ONCE", 50)
    words = np.random.default_rng(3)
    labels, wanted = words.integers(0, CLASSES, 200), words.integers(0, CLASSES, 40)
    cosines, numbers = literal(planted(40, 1), planted(200, 2), 200)
    found = Neighbours(torch.from_numpy(cosines).float(), torch.from_numpy(numbers))
    told = votes(found, torch.from_numpy(labels), torch.from_numpy(wanted), k, CLASSES, 0.07)
    assert told == literal_right(cosines[:, :k], numbers[:, :k], labels, wanted, 0.07)
    assert k == 1 or 0 < told.top1 < told.top5 < 40 or k == 200


@pytest.mark.parametrize(("own", "right"), [(0, (1, 1)), (1, (0, 1)), (2, (0, 0))])
def test_equal_scores_go_to_the_lower_class_and_no_vote_is_never_right(own, right):
    """Of three classes all would be among the five: the one without a vote was told by nobody."""
    found = Neighbours(torch.tensor([[0.5, 0.5]]), torch.tensor([[0, 1]]))
    labels = torch.tensor([1, 0])
    assert votes(found, labels, torch.tensor([own]), 2, 3, 0.07) == right


def test_a_near_neighbour_outvotes_far_ones_by_the_temperature():
    found = Neighbours(torch.tensor([[0.9, 0.8, 0.8]]), torch.tensor([[0, 1, 2]]))
    labels, own = torch.tensor([0, 1, 1]), torch.tensor([0])
    assert votes(found, labels, own, 3, 2, 0.07).top1 == 1
    assert votes(found, labels, own, 3, 2, 1.0).top1 == 0


def test_features_are_the_mean_of_the_patches_at_length_one():
    tokens = torch.tensor([[[3.0, 0.0], [3.0, 8.0]]])
    assert pooled(tokens).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
