import itertools

import numpy as np
import pytest

from pipeline.assess import binned


def drawn(key: int, rows: int = 500) -> np.ndarray:
    """Values of very different sizes and both signs, with some that are missing."""
    random = np.random.default_rng(key)
    values = random.normal(0, 1, rows) * 10.0 ** random.integers(-3, 6, rows)
    values[random.random(rows) < 0.05] = np.nan
    return values


def by_hand(one: np.ndarray, other: np.ndarray) -> float:
    """Kolmogorov and Smirnov's distance of the values themselves, NaN below all."""
    one, other = (np.where(np.isfinite(values), values, -np.inf) for values in (one, other))
    bounds = np.concatenate([one, other])
    return max(abs((one <= bound).mean() - (other <= bound).mean()) for bound in bounds)


def test_a_bin_is_narrow_begins_at_its_lowest_value_and_comes_in_order():
    values = np.sort(drawn(1)[np.isfinite(drawn(1))]).astype(np.float32)
    bins = [next(iter(binned.count(values[n : n + 1]))) for n in range(len(values))]
    assert bins == sorted(bins)
    low, high = binned.lowest(np.array(bins)), binned.lowest(np.array(bins) + 1)
    assert (low <= values).all()
    assert (values <= high).all()
    assert (high - low <= np.abs(values) / 127).all()


@pytest.mark.parametrize("key", range(5))
def test_the_distance_is_that_of_the_values_but_for_one_bin(key):
    one, other = drawn(key), drawn(key + 100, 300) * 1.5 + 0.3
    found = binned.distance(binned.count(one), binned.count(other))
    fullest = max(
        max(counts.values()) / counts.total() for counts in map(binned.count, (one, other))
    )
    assert by_hand(one, other) - fullest <= found <= by_hand(one, other) + 1e-12
    assert found > 0.05


@pytest.mark.parametrize("key", range(3))
def test_the_distance_of_whole_numbers_up_to_256_is_exact(key):
    random = np.random.default_rng(key)
    one, other = random.integers(0, 257, 400), random.integers(20, 257, 300)
    found = binned.distance(binned.count(one), binned.count(other))
    assert found == pytest.approx(by_hand(one, other), abs=1e-12)


def test_the_counts_of_parts_are_those_of_the_whole():
    values = drawn(3, 1000)
    parts = np.split(values, [0, 1, 400, 400, 999])
    assert sum(map(binned.count, parts), binned.Counts()) == binned.count(values)


def test_missing_values_lie_below_all_others():
    nothing = binned.count(np.full(8, np.nan))
    low = binned.count(np.array([-3e38, -np.inf, np.inf, 1e300]))
    assert low[binned.MISSING] == 3
    assert binned.distance(nothing, low) == 0.25
    assert binned.distance(nothing, nothing) == 0


def test_there_is_no_distance_to_nothing():
    some, nothing = binned.count(np.ones(3)), binned.count(np.zeros(0))
    for one, other in itertools.permutations([some, nothing]):
        assert np.isnan(binned.distance(one, other))


def test_zero_is_one_value_whatever_its_sign():
    assert binned.count(np.array([0.0, -0.0])) == binned.count(np.zeros(2))


def test_quantiles_are_those_of_the_finite_values_within_a_bin():
    values = drawn(4)
    finite = np.sort(values[np.isfinite(values)])
    for share in (0, 0.1, 0.5, 0.9, 1):
        exact = finite[max(0, int(np.ceil(share * len(finite))) - 1)]
        found = binned.quantile(binned.count(values), share)
        assert 0 <= exact - found <= abs(exact) / 127
    assert np.isnan(binned.quantile(binned.count(np.full(3, np.nan)), 0.5))


def test_bars_hold_every_finite_value_once():
    values = np.array([1.0, 1.0, 2.0, 3.0, 9.0, -7.0, np.nan, np.nan])
    found = binned.bars(binned.count(values), np.array([0.5, 1.5, 2.5, 3.5]))
    assert found.tolist() == [3 / 8, 1 / 8, 2 / 8]  # -7 and 9 in the outermost
    assert not binned.bars(binned.count(values[-2:]), np.array([0.0, 1.0])).any()


def test_bars_follow_a_smooth_distribution_smoothly():
    """A bin is split by an edge in it, or bars of three and of four bins would alternate."""
    values = np.linspace(0.25, 0.5, 100_000, endpoint=False)
    found = binned.bars(binned.count(values), np.linspace(0.25, 0.5, 38))
    assert found == pytest.approx(np.full(37, 1 / 37), rel=0.01)
