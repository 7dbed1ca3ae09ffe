"""Planted laws are found again, with intervals that hold them; what tells nothing is refused."""

import numpy as np
import pytest

from pipeline.assess import powerlaw
from pipeline.assess.powerlaw import Unfit, fit

COMPUTE = np.geomspace(1e18, 1e21, 8)


def law(compute, floor, power, at_1e18=0.4):
    return floor + at_1e18 * (compute / 1e18) ** -power


@pytest.mark.parametrize(("floor", "power"), [(0.2, 0.3), (0.0, 0.1), (1.5, 0.05)])
def test_a_law_without_noise_is_found_to_the_digit(floor, power):
    found = fit(COMPUTE, law(COMPUTE, floor, power), rounds=20)
    assert found.power.value == pytest.approx(power, rel=1e-3)
    assert found.floor.value == pytest.approx(floor, rel=1e-3, abs=1e-3)
    assert found.scale.value == pytest.approx(0.4 * 1e18**power, rel=0.05)
    assert found.at(np.array([1e23]))[0, 0] == pytest.approx(law(1e23, floor, power), rel=1e-3)
    assert not found.pure


def test_four_computes_tell_no_floor():
    compute = np.repeat(COMPUTE[:4], 3)
    found = fit(compute, law(compute, 0, 0.2), rounds=50)
    assert found.pure
    assert found.points == 12
    assert tuple(found.floor) == (0, 0, 0)
    assert found.power.value == pytest.approx(0.2, rel=1e-9)
    assert not fit(COMPUTE[:5], law(COMPUTE[:5], 0, 0.2), rounds=5).pure


def test_a_run_that_went_wrong_does_not_decide():
    random = np.random.default_rng(0)
    loss = law(COMPUTE, 0.2, 0.3) * (1 + 0.002 * random.normal(size=8))
    before = fit(COMPUTE, loss, rounds=20).power.value
    loss[4] *= 1.5
    after = fit(COMPUTE, loss, rounds=20).power.value
    # With all weights 1 this outlier moves b from 0.30 to 0.16.
    assert after == pytest.approx(before, abs=0.03)


@pytest.mark.parametrize("runs", [4, 8])
def test_19_of_20_intervals_hold_the_power_and_bands_a_further_run(runs):
    random, sims = np.random.default_rng(0), 40
    compute, beyond = np.geomspace(1e18, 1e21, runs), np.array([1e21 * 10**0.5])
    floor = 0.2 if runs >= powerlaw.FLOOR_NEEDS else 0.0
    held = inside = 0
    for seed in range(sims):
        noise, further = 0.01 * random.normal(size=runs), 0.01 * random.normal()
        found = fit(compute, law(compute, floor, 0.2) * (1 + noise), seed, rounds=100)
        _, low, high = found.at(beyond)[:, 0]
        held += found.power.low <= 0.2 <= found.power.high
        inside += low <= law(beyond[0], floor, 0.2) * (1 + further) <= high
    assert held / sims >= 0.83
    assert inside / sims >= 0.83


def test_intervals_are_no_wider_than_they_need_to_be():
    random = np.random.default_rng(0)
    compute = np.geomspace(1e18, 1e21, 12)
    found = fit(compute, law(compute, 0, 0.2) * (1 + 0.001 * random.normal(size=12)), rounds=300)
    assert found.power.high - found.power.low < 0.01
    few = fit(compute[:3], law(compute[:3], 0, 0.2) * (1 + 0.001 * random.normal(size=3)))
    assert few.power.high - few.power.low > 0.01


def test_a_loss_that_rises_with_compute_has_a_power_below_0():
    found = fit(COMPUTE[:4], law(COMPUTE[:4], 0, -0.1), rounds=20)
    assert found.power.value == pytest.approx(-0.1)


def test_with_a_floor_a_rising_loss_is_flat():
    found = fit(COMPUTE, law(COMPUTE, 0, -0.1), rounds=20)
    assert found.scale.value == 0
    assert np.ptp(found.at(COMPUTE)[0]) == 0


def test_the_unit_of_compute_changes_no_power_and_a_seed_gives_the_same_bits():
    loss = law(COMPUTE, 0.2, 0.3) * (1 + 0.01 * np.random.default_rng(0).normal(size=8))
    one, again = (fit(COMPUTE, loss, seed=4, rounds=50) for _ in range(2))
    assert one.power == again.power
    assert (one.at(COMPUTE) == again.at(COMPUTE)).all()
    assert fit(COMPUTE, loss, seed=5, rounds=50).power != one.power
    assert fit(COMPUTE / 1e15, loss, seed=4, rounds=50).power == pytest.approx(one.power, rel=1e-6)


@pytest.mark.parametrize(
    ("compute", "loss", "reason"),
    [
        ([1e18, 1e19], [1, 2], "needs 3 runs"),
        ([1e18] * 4, [1, 2, 3, 4], "the same compute"),
        ([1e18, 1e19, 0], [1, 2, 3], "not a positive number"),
        ([1e18, 1e19, 1e20], [1, 2, np.nan], "not a positive number"),
    ],
)
def test_what_tells_no_law_is_refused_with_the_reason(compute, loss, reason):
    with pytest.raises(Unfit, match=reason):
        fit(np.array(compute), np.array(loss))


def test_lists_of_different_things_are_the_callers_mistake():
    with pytest.raises(ValueError, match="not of one list"):
        fit(COMPUTE, COMPUTE[1:])
