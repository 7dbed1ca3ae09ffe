import numpy as np
import pytest

from pipeline.assess.overlap import overlap

A = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
B = np.array([0.9, 0.1, 0.7, 0.8, 0.5, 0.4, 0.3, 0.2])


def test_kept_rows_are_counted():
    [found] = overlap(A, B, [0.375])
    assert (found.a, found.b, found.both, found.either) == (3, 3, 2, 4)
    assert found.jaccard == 0.5
    assert found.shared == pytest.approx(2 / 3)
    assert found.chance == 3 / 8


def test_one_filter_keeps_what_itself_keeps_and_its_reverse_keeps_the_rest():
    [same] = overlap(A, A * 2 + 1, [0.5])
    assert (same.jaccard, same.shared, same.chance) == (1, 1, 0.5)
    assert same.spearman == pytest.approx(1)
    [reverse] = overlap(A, -A, [0.5])
    assert (reverse.jaccard, reverse.shared) == (0, 0)
    assert reverse.spearman == pytest.approx(-1)


def test_filters_that_have_nothing_to_do_with_each_other_share_as_chance_says():
    random = np.random.default_rng(0)
    for found in overlap(random.random(20_000), random.random(20_000), [0.1, 0.5]):
        assert found.shared == pytest.approx(found.chance, abs=0.02)
        assert found.chance == found.fraction
        assert abs(found.spearman) < 0.03


def test_a_row_without_a_score_is_dropped_by_that_filter_alone():
    a = A.copy()
    a[[0, 7]] = np.nan, -np.inf
    [found] = overlap(a, B, [0.5])
    assert (found.a, found.b, found.both, found.either) == (3, 4, 2, 5)
    assert found.chance == 4 / 8
    [turned] = overlap(B, a, [0.5])
    assert turned.chance == 3 / 8


def test_all_and_none_are_fractions_too():
    none, whole = overlap(A, B, [0, 1])
    assert (none.a, none.both, none.chance) == (0, 0, 0)
    assert np.isnan([none.jaccard, none.shared]).all()
    assert (whole.both, whole.jaccard, whole.shared, whole.chance) == (8, 1, 1, 1)


def test_scores_that_are_all_the_same_keep_the_first_rows():
    [found] = overlap(np.zeros(8), np.ones(8), [0.25])
    assert (found.both, found.jaccard) == (2, 1)
    assert np.isnan(found.spearman)


def test_scores_of_other_rows_are_the_callers_mistake():
    for a, b in ((A, B[:3]), (A[:0], B[:0])):
        with pytest.raises(ValueError, match="not of the same rows"):
            overlap(a, b, [0.5])
