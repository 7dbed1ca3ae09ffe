"""Weights are resamples, and the interval of a mean covers it."""

import numpy as np
import pytest

from pipeline.assess import intervals
from pipeline.assess.intervals import Interval, bootstrap


def mean_of(values):
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_a_resample_draws_each_unit_as_often_as_its_weight_says():
    seen = []

    def keep(weights):
        seen.append(weights)
        return weights[:, 0]

    bootstrap(keep, 5, seed=1, rounds=4000)
    weights = seen[0]
    assert weights.shape == (4000, 5)
    assert (weights.sum(axis=1) == 5).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(5), abs=0.06)
    assert weights.var(axis=0) == pytest.approx(np.full(5, 0.8), abs=0.08)  # n · 1/n · (1 - 1/n)


def test_the_value_is_the_figure_of_all_units_and_the_ends_are_quantiles_of_resamples():
    values, drawn = np.arange(10.0), []

    def mean(weights):
        drawn.append(mean_of(values)(weights))
        return drawn[-1]

    found = bootstrap(mean, 10, seed=0, rounds=500)
    assert found.value == 4.5
    resampled = np.concatenate(drawn[:-1])
    assert len(resampled) == 500
    assert (found.low, found.high) == tuple(np.quantile(resampled, [0.025, 0.975]))


def test_the_standard_error_of_a_mean_is_found():
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap(mean_of(values), 400, seed=0, rounds=4000)
    error = values.std() / 20
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)


def test_19_of_20_intervals_hold_the_truth():
    random = np.random.default_rng(0)
    held = 0
    for repeat in range(400):
        hits = (random.random(100) < 0.7).astype(float)
        found = bootstrap(mean_of(hits), 100, seed=repeat, rounds=200)
        held += found.low <= 0.7 <= found.high
    assert 0.91 <= held / 400 <= 0.98


def test_how_much_is_held_at_once_changes_no_bit(monkeypatch):
    values = np.random.default_rng(0).normal(size=30)
    whole = bootstrap(mean_of(values), 30, seed=3)
    monkeypatch.setattr(intervals, "AT_ONCE", 97)
    calls = []

    def mean(weights):
        calls.append(len(weights))
        return mean_of(values)(weights)

    assert bootstrap(mean, 30, seed=3) == pytest.approx(whole, abs=1e-15)
    assert max(calls) == 3
    assert sum(calls) == 1001


def test_a_seed_gives_the_same_bits_and_another_gives_others():
    values = np.random.default_rng(0).normal(size=30)
    one, again, other = (bootstrap(mean_of(values), 30, seed) for seed in (5, 5, 6))
    assert one == again
    assert one.value == other.value
    assert (one.low, one.high) != (other.low, other.high)


def test_a_resample_without_the_figure_is_left_out():
    values = np.array([np.nan, 1.0, 2.0])

    def first_is_out(weights):
        return np.where(weights[:, 0] > 1, np.nan, weights[:, 1:] @ values[1:])

    found = bootstrap(first_is_out, 3, seed=0, rounds=300)
    assert found.value == 3.0
    assert 0 <= found.low < found.high <= 6


def test_a_figure_that_cannot_be_told_has_no_interval():
    found = bootstrap(lambda weights: np.full(len(weights), np.nan), 3, seed=0, rounds=5)
    assert isinstance(found, Interval)
    assert np.isnan(found).all()


@pytest.mark.parametrize(("n", "rounds"), [(0, 10), (10, 0)])
def test_nothing_to_draw_is_the_callers_mistake(n, rounds):
    with pytest.raises(ValueError, match="bootstrap"):
        bootstrap(lambda weights: weights[:, 0], n, 0, rounds)
