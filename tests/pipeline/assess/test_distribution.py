import numpy as np
import pytest

from pipeline.assess.distribution import EDGES, PERCENTILES, distribution


def test_figures_are_those_of_the_finite_scores():
    scores = np.random.default_rng(0).normal(0.25, 0.1, 1000).astype(np.float32)
    spoilt = np.concatenate([scores, [np.nan, np.inf, -np.inf]]).astype(np.float32)
    found = distribution(spoilt)
    assert (found.count, found.missing) == (1000, 3)
    assert found.mean == pytest.approx(scores.mean(), rel=1e-5)
    assert found.sd == pytest.approx(scores.std(), rel=1e-5)
    for percent in PERCENTILES:
        assert found.percentiles[percent] == pytest.approx(np.percentile(scores, percent), rel=1e-5)


def test_histograms_lie_on_one_grid_and_add_up():
    assert len(EDGES) == 101
    assert (EDGES[0], EDGES[50], EDGES[-1]) == (-1, 0, 1)
    random = np.random.default_rng(0)
    one, other = random.uniform(-1, 1, 300), random.uniform(0, 0.5, 200)
    apart = distribution(one).histogram + distribution(other).histogram
    assert (apart == distribution(np.concatenate([one, other])).histogram).all()
    assert apart.sum() == 500


def test_a_score_counts_between_its_edges_and_outside_them_in_the_outermost():
    found = distribution(np.array([-1.5, -1, 0.031, 0.999, 1, 1.0000001])).histogram
    assert np.flatnonzero(found).tolist() == [0, 51, 99]
    assert found[[0, 51, 99]].tolist() == [2, 1, 3]


@pytest.mark.parametrize("scores", [np.zeros(0), np.full(4, np.nan)])
def test_nothing_finite_has_no_figures(scores):
    found = distribution(scores)
    assert (found.count, found.missing) == (0, len(scores))
    assert np.isnan([found.mean, found.sd, *found.percentiles.values()]).all()
    assert found.histogram.shape == (100,)
    assert not found.histogram.any()


def test_the_order_of_the_rows_does_not_matter():
    scores = np.random.default_rng(0).random(500)
    one, other = distribution(scores), distribution(scores[::-1])
    assert one.percentiles == other.percentiles
    assert (one.histogram == other.histogram).all()
    assert (one.mean, one.sd) == pytest.approx((other.mean, other.sd))
