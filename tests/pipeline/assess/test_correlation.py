import numpy as np
import pytest
from scipy import stats

from pipeline.assess.correlation import average_ranks, kendall, spearman


@pytest.mark.parametrize("values", [2, 5, 1000])
def test_correlations_are_those_of_scipy(values):
    random = np.random.default_rng(values)
    a = random.integers(0, values, 80).astype(float)
    b = a + random.integers(0, values, 80)
    assert average_ranks(a) == pytest.approx(stats.rankdata(a))
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert kendall(a, b) == pytest.approx(stats.kendalltau(a, b).statistic)


@pytest.mark.parametrize("correlation", [spearman, kendall])
def test_only_the_order_counts(correlation):
    a = np.array([0.1, 0.2, 0.3, 0.9], np.float32)
    assert correlation(a, np.exp(a)) == pytest.approx(1)
    assert correlation(a, -a) == pytest.approx(-1)
    assert np.isnan(correlation(a, np.ones(4)))
    assert np.isnan(correlation(a[:1], a[:1]))


@pytest.mark.parametrize("correlation", [spearman, kendall])
def test_places_where_either_is_missing_are_left_out(correlation):
    a, b = np.array([1, 2, np.nan, 4, 3.0]), np.array([1, 3, 9, np.inf, 2.0])
    assert correlation(a, b) == pytest.approx(correlation(a[[0, 1, 4]], b[[0, 1, 4]]))
    with pytest.raises(ValueError, match="not of the same things"):
        correlation(a, b[:3])
