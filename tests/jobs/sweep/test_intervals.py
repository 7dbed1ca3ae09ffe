"""Intervals of a few seeds against scipy, or against what t is in closed form."""

import math

import pytest

from jobs.sweep.intervals import t_interval, t_quantile


def test_the_quantiles_are_those_of_the_closed_forms():
    assert t_quantile(1) == pytest.approx(math.tan(0.475 * math.pi))  # Cauchy's
    assert t_quantile(2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)))


def test_the_quantiles_are_scipys():
    stats = pytest.importorskip("scipy.stats")
    for freedom in range(1, 60):
        assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


def test_the_interval_of_three_values_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    values = [69.7, 70.4, 70.1]
    low, high = stats.t.interval(0.95, 2, sum(values) / 3, stats.sem(values))
    assert t_interval(values) == pytest.approx((sum(values) / 3, low, high))


def test_one_value_has_no_interval_and_none_is_refused():
    value, low, high = t_interval([3.0])
    assert value == 3.0
    assert math.isnan(low)
    assert math.isnan(high)
    with pytest.raises(ValueError, match="no seeds"):
        t_interval([])


def test_equal_values_have_an_interval_of_no_width():
    assert t_interval([2.5, 2.5, 2.5]) == (2.5, 2.5, 2.5)
