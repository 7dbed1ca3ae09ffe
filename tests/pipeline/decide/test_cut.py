"""The score cut is exact to the row."""

import math
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest

from pipeline.decide import cut as cutting
from pipeline.decide.config import DecideConfig
from pipeline.decide.cut import CutConfig
from pipeline.decide.rules import RulesConfig
from tests.pipeline.decide.deciding import Verdicts, decided
from tests.pipeline.making import rows


def cut(changes, fraction: float, of: str = "scored", ties: str = "exact", **rules) -> Verdicts:
    one = CutConfig(top_fraction=fraction, of=of, ties=ties)
    config = DecideConfig(rules=RulesConfig(**rules), cuts=(one,))
    return decided(rows(*changes), config)


def kept(plan: Verdicts) -> list[int]:
    return plan.kept


def uid(number: int) -> str:
    return f"{number:032x}"


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
        plan.table["detail"][0].as_py()
        == "clip_score 0.9000 is outside the top 0.3, which holds no row"
    )
    assert plan.cuts == {}


def test_the_detail_names_the_score_and_where_the_cut_fell():
    plan = cut([{"clip_score": 0.75}, {"clip_score": 0.25}], 0.5)
    assert plan.table["detail"][1].as_py() == (
        "clip_score 0.2500 is outside the top 0.5, which ends at 0.7500"
    )


def test_ties_are_broken_by_uid_and_not_by_size():
    uids = [uid(n) for n in (3, 1, 2, 0)]
    changes = [{"uid": name, "nbytes": 1000 + n} for n, name in enumerate(uids)]
    assert kept(cut(changes, 0.5)) == [1, 3]


def test_ties_of_one_uid_are_broken_by_the_place_in_the_pool():
    changes = [{"uid": uid(7), "source": f"s3://{name}"} for name in "dbca"]
    found = [row["source"] for row in cut(changes, 0.5).table.to_pylist() if row["keep"]]
    assert found == ["s3://a", "s3://b"]


def test_ties_are_included_when_datacomp_is_followed():
    scores = [0.9, 0.5, 0.5, 0.5, 0.1]
    changes = [{"clip_score": score} for score in scores]
    assert kept(cut(changes, 0.4)) == [0, 1]
    assert kept(cut(changes, 0.4, ties="included")) == [0, 1, 2, 3]
    assert kept(cut(changes, 1, ties="included")) == [0, 1, 2, 3, 4]


def test_any_number_of_tables_and_of_ties_gives_the_same_rows(monkeypatch):
    """The search for the last key goes down to its last byte when few keys may be sorted."""
    random = np.random.default_rng(3)
    changes = [
        {"clip_score": float(random.integers(3)) / 2, "uid": uid(int(random.integers(1 << 40)))}
        for _ in range(300)
    ]
    config = DecideConfig(cuts=(CutConfig(top_fraction=0.37),))
    one = decided(rows(*changes), config)
    monkeypatch.setattr(cutting, "SORT_AT_MOST", 1)
    many = decided(rows(*changes), config, cuts=sorted(random.integers(0, 300, 20).tolist()))
    assert many.table.equals(one.table)
    assert len(one.kept) == 111


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
    assert plan.table["detail"][0].as_py() == "no clip_score"


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
                "uid": uid(random.integers(4)),
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


def test_keys_sort_as_scores_do_the_other_way_round():
    values = np.array([-np.float32(1e30), -1, -1e-30, -0.0, 0.0, 1e-30, 0.25, 1, 1e30], np.float32)
    table = decided_rows(len(values))
    keys = cutting.keys(values, table)
    assert list(np.argsort(keys)) == [8, 7, 6, 5, 3, 4, 2, 1, 0]
    assert [cutting.score_of(bytes(key).ljust(28, b"\0")) for key in keys] == values.tolist()


def decided_rows(count: int) -> pa.Table:
    uids = pa.array([number.to_bytes(16) for number in range(count)], pa.binary(16))
    return pa.table({"uid": uids, "row": pa.array(range(count), pa.int64())})
