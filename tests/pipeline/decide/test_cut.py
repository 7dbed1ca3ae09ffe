"""The score cut is exact to the row."""

import math
from fractions import Fraction

import numpy as np
import pytest

from pipeline.decide.cut import CutConfig
from pipeline.decide.layout import WriteConfig
from pipeline.decide.plan import DecideConfig, Plan, decide
from pipeline.decide.rules import RulesConfig
from tests.pipeline.making import rows


def cut(changes, fraction: float, of: str = "scored", **rules) -> Plan:
    config = DecideConfig(rules=RulesConfig(**rules), cut=CutConfig(top_fraction=fraction, of=of))
    return decide(rows(*changes), rows(), config, WriteConfig())


def kept(plan: Plan) -> list[int]:
    return np.flatnonzero(plan.table["keep"].to_numpy()).tolist()


@pytest.mark.parametrize(
    ("rows_in", "fraction", "passing"),
    [(20, 0.15, 3), (100, 0.29, 29), (10, 0.7, 7), (7, 1, 7), (3, 0.5, 1), (1000, 0.001, 1)],
)
def test_the_top_fraction_is_counted_to_the_row(rows_in, fraction, passing):
    scores = np.random.default_rng(1).permutation(rows_in) / rows_in
    plan = cut([{"clip_score": score} for score in scores], fraction)
    assert kept(plan) == sorted(np.argsort(-scores)[:passing].tolist())
    assert plan.cuts == {0: pytest.approx(np.sort(scores)[-passing])}


def test_a_fraction_of_too_few_rows_keeps_none_of_them():
    plan = cut([{"clip_score": 0.9}, {"clip_score": 0.8}], 0.3)
    assert kept(plan) == []
    assert plan.table["reason"].to_pylist() == ["low_score"] * 2
    assert (
        plan.table["detail"][0].as_py() == "score 0.9000 is outside the top 0.3, which holds no row"
    )
    assert plan.cuts == {}


def test_the_detail_names_the_score_and_where_the_cut_fell():
    plan = cut([{"clip_score": 0.75}, {"clip_score": 0.25}], 0.5)
    assert plan.table["detail"][1].as_py() == (
        "score 0.2500 is outside the top 0.5, which ends at 0.7500"
    )


@pytest.mark.parametrize(
    "columns",
    [
        ("uid", ["3", "1", "2", "0"]),
        ("source", ["s3://d", "s3://b", "s3://c", "s3://a"]),
        ("key", ["3", "1", "2", "0"]),
        ("offset", [3, 1, 2, 0]),
    ],
)
def test_ties_are_broken_by_uid_source_key_and_offset_alone(columns):
    name, values = columns
    same = {"uid": "u", "source": "s", "key": "k", "offset": 1}
    changes = [
        same | {name: value, "nbytes": 1000 + n}
        for n, value in zip((0, 5, 9, 3), values, strict=True)
    ]
    table = cut(changes, 0.5).table
    found = [row[name] for row in table.to_pylist() if row["keep"]]
    assert sorted(found) == sorted(values)[:2]


def test_the_first_of_two_names_decides():
    changes = [{"uid": "2", "source": "a"}, {"uid": "1", "source": "b"}]
    assert [row["uid"] for row in cut(changes, 0.5).table.to_pylist() if row["keep"]] == ["1"]


BAD_AND_GOOD = [{"clip_score": 0.9 - n / 100, "width": 1 if n < 4 else 100} for n in range(10)]


def test_a_share_of_all_scored_rows_counts_those_that_fell_before():
    assert kept(cut(BAD_AND_GOOD, 0.5, "scored", min_side=9)) == [4]


def test_a_share_of_the_survivors_does_not():
    assert kept(cut(BAD_AND_GOOD, 0.5, "survivors", min_side=9)) == [4, 5, 6]


@pytest.mark.parametrize("score", [None, float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("of", ["scored", "survivors"])
def test_rows_without_a_score_fall_and_do_not_count(score, of):
    scores = [score, 0.4, score, 0.3, 0.2, score, 0.1]
    plan = cut([{"clip_score": value} for value in scores], 0.5, of)
    assert kept(plan) == [1, 3]
    reasons = plan.table["reason"].to_pylist()
    assert [reasons[n] for n in (0, 2, 5)] == ["no_score"] * 3
    assert plan.table["detail"][0].as_py() == "the image-text model gave no score"


def test_rows_that_are_all_without_a_score_all_fall():
    plan = cut([{"clip_score": None}] * 3, 0.5)
    assert plan.table["reason"].to_pylist() == ["no_score"] * 3
    assert plan.cuts == {}


def test_each_generation_is_cut_alone():
    changes = [{"clip_score": n / 10, "generation": n % 2} for n in range(10)]
    plan = cut(changes, 0.4)
    assert kept(plan) == [6, 7, 8, 9]
    assert plan.cuts == {0: pytest.approx(0.6), 1: pytest.approx(0.7)}
    lopsided = [{"clip_score": 0.9 - n / 10, "generation": int(n >= 4)} for n in range(8)]
    assert kept(cut(lopsided, 0.5)) == [0, 1, 4, 5]


def test_against_a_slow_reading_of_the_rule_on_random_tables():
    random = np.random.default_rng(11)
    for _ in range(40):
        count, fraction = int(random.integers(1, 40)), int(random.integers(1, 101)) / 100
        changes = [
            {
                "clip_score": [None, float(random.integers(5)) / 4][int(random.integers(4) > 0)],
                "generation": int(random.integers(3)),
                "uid": str(random.integers(4)),
                "nbytes": int(random.integers(4)),
            }
            for _ in range(count)
        ]
        plan = cut(changes, fraction)
        wanted = []
        for generation in range(3):
            base = [
                (-change["clip_score"], change["uid"], number)
                for number, change in enumerate(changes)
                if change["generation"] == generation and change["clip_score"] is not None
            ]
            passing = math.floor(Fraction(str(fraction)) * len(base))
            wanted += [number for *_, number in sorted(base)[:passing]]
        assert kept(plan) == sorted(wanted)
