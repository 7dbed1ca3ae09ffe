import numpy as np
import pytest

from pipeline.assess import cosines as module
from pipeline.assess.cosines import check, chosen_cosines, cosines
from pipeline.format.errors import HeadraceError
from tests.pipeline.assess.pairs import pairs, texts, unit


def test_a_product_is_the_same_number_wherever_it_stands():
    one = unit(np.random.default_rng(0).normal(size=(1, 513)))
    for n, m in ((1, 1), (3, 5), (17, 33), (101, 64)):
        found = cosines(np.repeat(one, n, 0), np.repeat(one, m, 0))
        chosen = chosen_cosines(np.repeat(one, n, 0), one, np.zeros((n, m), np.int64))
        assert np.unique(found).tolist() == np.unique(chosen).tolist() == [found[0, 0]]


def test_chosen_products_are_those_of_the_whole_matrix(monkeypatch):
    images, captions = pairs(50, d=33)
    chosen = np.random.default_rng(0).integers(0, 50, (50, 7))
    wanted = np.take_along_axis(cosines(images, captions), chosen, axis=1)
    assert (chosen_cosines(images, captions, chosen) == wanted).all()
    monkeypatch.setattr(module, "AT_ONCE", 1000)
    assert (chosen_cosines(images, captions, chosen) == wanted).all()


def test_pairs_of_unlike_shapes_are_the_callers_mistake():
    images, captions = pairs(4)
    for wrong in ((images[:3], captions, texts(4)), (images, captions, texts(3))):
        with pytest.raises(ValueError, match="not of the same pairs"):
            check(*wrong)


def test_one_pair_is_too_few_to_compare():
    images, captions = pairs(1)
    with pytest.raises(HeadraceError, match="held-out pairs: 1; at least 2"):
        check(images, captions, texts(1))


def test_captions_that_are_all_the_same_cannot_be_judged():
    with pytest.raises(HeadraceError, match="all captions are the same text"):
        check(*pairs(5), ["a cat"] * 5)


@pytest.mark.parametrize("wrong", [np.nan, 0.0, 1.02, np.inf])
def test_an_embedding_that_is_not_of_unit_length_is_named(wrong):
    images, captions = pairs(4)
    captions[2] *= wrong
    with pytest.raises(HeadraceError, match="caption embedding 2 is of length"):
        check(images, captions, texts(4))


def test_embeddings_that_were_stored_in_half_precision_pass():
    images, captions = (each.astype(np.float16).astype(np.float32) for each in pairs(20, d=1024))
    check(images, captions, texts(20))
