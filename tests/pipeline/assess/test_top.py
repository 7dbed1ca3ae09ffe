"""The top fraction is the one that `decide` keeps."""

import numpy as np
import pytest

from pipeline.assess.top import threshold, top
from pipeline.decide.config import DecideConfig
from pipeline.decide.cut import CutConfig
from tests.pipeline.decide.deciding import decided
from tests.pipeline.making import rows


@pytest.mark.parametrize(("n", "fraction"), [(20, 0.15), (100, 0.29), (9, 0.3333333333333333)])
def test_the_top_is_what_a_cut_keeps(n, fraction):
    scores = np.random.default_rng(n).permutation(n).astype(np.float32) / n
    scores[3] = np.nan
    cut = DecideConfig(cuts=(CutConfig(top_fraction=fraction),))
    plan = decided(rows(*({"clip_score": score} for score in scores.tolist())), cut)
    assert np.flatnonzero(top(scores, fraction)).tolist() == plan.kept


@pytest.mark.parametrize(("n", "fraction", "kept"), [(20, 0.15, 3), (100, 0.29, 29), (3, 0.5, 1)])
def test_the_fraction_is_counted_to_the_row(n, fraction, kept):
    assert top(np.zeros(n), fraction).sum() == kept


def test_ties_are_taken_by_row_number():
    assert top(np.array([1.0, 2.0, 1.0, 1.0, 2.0]), 0.6).tolist() == [
        True,
        True,
        False,
        False,
        True,
    ]


def test_rows_without_a_finite_score_are_never_kept():
    scores = np.array([np.nan, 0.1, np.inf, -np.inf, 0.2], np.float32)
    assert top(scores, 1).tolist() == [False, True, False, False, True]
    assert top(scores, 0.5).tolist() == [False, False, False, False, True]
    assert not top(scores, 0).any()
    assert not top(np.full(3, np.nan), 1).any()


@pytest.mark.parametrize("fraction", [-0.1, 1.1, np.nan])
def test_a_fraction_is_between_0_and_1(fraction):
    with pytest.raises(ValueError, match="between 0 and 1"):
        top(np.zeros(3), fraction)


def test_the_threshold_is_the_lowest_score_that_is_kept():
    scores = np.array([0.3, np.nan, 0.1, 0.2, 0.2], np.float32)
    assert threshold(scores, top(scores, 0.5)) == np.float32(0.2)
    assert threshold(scores, top(scores, 1)) == np.float32(0.1)
    assert np.isnan(threshold(scores, top(scores, 0)))
