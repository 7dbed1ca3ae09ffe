"""Agreement with the paper's order, on numbers made by hand."""

import pytest

from jobs.sweep.directions import (
    ABSENT,
    AGREES,
    DISAGREES,
    NO_SPREAD,
    NOISE,
    ONE_SEED,
    directions,
    verdict,
)
from jobs.sweep.published import ATTENTIVE, LINEAR, LOSS, TABLES, Claim, claims

CLAIM = Claim("mix", "web", ATTENTIVE, 1.1, "table")


def only(claim: Claim, better: dict[int, float], worse: dict[int, float]) -> dict:
    (found,) = directions([claim], {claim.measure: {"mix": better, "web": worse}})
    return found


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0, 1.2, 0.9], AGREES),
        ([-1.0, -1.2, -0.9], DISAGREES),
        ([1.0, -1.2, 0.9], NOISE),
        ([0.0, 0.0, 0.0], NO_SPREAD),
        ([2.0, 2.0], NO_SPREAD),  # one count of images in a small test set, not certainty
        ([52.3 - 50.3, 51.1 - 49.1, 2.0], NO_SPREAD),
        ([2.0, 2.1], AGREES),
        ([0.1, 2.0], NOISE),  # two seeds of one sign are no proof
        ([5.0], ONE_SEED),
    ],
)
def test_only_an_interval_without_zero_says_something(differences, expected):
    assert verdict(differences) == expected


def test_seeds_are_paired_so_what_they_share_is_no_noise():
    wide = {0: 50.0, 1: 60.0, 2: 70.0}
    found = only(CLAIM, {seed: value + 1 + seed / 10 for seed, value in wide.items()}, wide)
    assert found["verdict"] == AGREES
    assert found["ours"]["value"] == pytest.approx(1.1)
    assert found["ours"]["n"] == 3


def test_seeds_that_one_row_lacks_are_left_out():
    found = only(CLAIM, {0: 1.0, 2: 9.0}, {0: 0.5, 1: 0.0})
    assert found["verdict"] == ONE_SEED
    assert found["ours"] == {"value": 0.5, "low": None, "high": None, "n": 1}


def test_a_lower_loss_is_better():
    claim = CLAIM._replace(measure=LOSS, points=None)
    low, high = {0: 1.0, 1: 1.1, 2: 1.2}, {0: 1.5, 1: 1.61, 2: 1.7}
    assert only(claim, low, high)["verdict"] == AGREES
    assert only(claim, high, low)["verdict"] == DISAGREES


def test_rows_that_were_not_run_say_nothing():
    assert directions([CLAIM], {})[0]["verdict"] == ABSENT
    assert only(CLAIM, {}, {0: 1.0})["ours"] is None


def test_the_papers_order_is_read_from_its_figures_each_pair_once():
    found = claims("order")
    assert len(found) == 2 * 6
    pairs = {(claim.better, claim.worse) for claim in found if claim.measure == LINEAR}
    assert pairs >= {("raster", "spiral"), ("checkerboard", "spiral"), ("spiral", "random_fixed")}
    attentive = {(claim.better, claim.worse) for claim in found if claim.measure == ATTENTIVE}
    assert ("spiral", "checkerboard") in attentive
    assert all(claim.points > 0 for claim in found)


def test_what_has_no_linear_probe_in_the_paper_has_no_claim_of_one():
    assert {claim.measure for claim in claims("objective")} == {ATTENTIVE}
    assert {claim.where for claim in claims("data-mix") if claim.measure == LOSS} == {"figure 5"}


def test_a_pair_with_an_unconfirmed_figure_is_marked():
    for claim in claims("target"):
        assert claim.where == "unconfirmed"
    assert all(
        row.unconfirmed for name, row in TABLES["attention"].items() if "prefix-b" not in name
    )
    assert not any(row.unconfirmed for row in TABLES["order"].values())
