"""What is new is held against the parent: chance is let through, and what has changed is not."""

import itertools
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from pipeline.assess import binned
from pipeline.assess.drift import (
    NOTHING,
    RATES,
    Figures,
    GatesConfig,
    columns,
    compare,
    figures,
)
from pipeline.decide.verdict import Reason

VERDICTS = {None: 0.5, "low_score": 0.3, "near_duplicate": 0.1, "exact_duplicate": 0.08}
SCORES = ("clip_score",)


def rows(key: int, count: int, **changes) -> pa.Table:
    """A pool's rows as they are drawn: verdicts, sizes and scores; the unreadable have none."""
    random = np.random.default_rng(key)
    reasons = np.array([*VERDICTS, "unreadable"], object)
    reason = random.choice(reasons, count, p=[*VERDICTS.values(), 0.02])
    sides = random.lognormal(6, 0.5, (count, 2)).astype(np.int32)
    bad = reason == "unreadable"
    found = {
        "reason": pa.array(reason, pa.string()),
        "width": pa.array(sides[:, 0], pa.int32(), mask=bad),
        "height": pa.array(sides[:, 1], pa.int32(), mask=bad),
        "nbytes": pa.array(random.lognormal(11, 1, count).astype(np.int64)),
        "clip_score": pa.array(random.normal(0.25, 0.05, count), pa.float32(), mask=bad),
    }
    return pa.table(found | changes)


def counted(table: pa.Table, scores=SCORES) -> Figures:
    return figures(table, scores)


def out(before: Figures, after: Figures, **bands) -> set[str]:
    return {found.name for found in compare(before, after, GatesConfig(**bands)) if found.out}


def test_rates_are_shares_of_all_rows():
    table = rows(1, 2000)
    reason = table["reason"].to_pylist()
    found = counted(table)
    assert found.rate(RATES["keep_rate"]) == reason.count(None) / 2000
    duplicates = reason.count("near_duplicate") + reason.count("exact_duplicate")
    assert found.rate(RATES["duplicate_rate"]) == duplicates / 2000
    assert found.rate(RATES["error_rate"]) == reason.count("unreadable") / 2000
    assert sum(found.verdicts.values()) == found.rows == 2000


def test_the_shorter_side_is_the_width_or_the_height():
    sides = {"width": [10] * 30 + [500] * 70, "height": [500] * 30 + [20] * 70}
    found = counted(rows(1, 100, **sides)).spreads["shorter_side"]
    assert found == binned.count(np.array([10] * 30 + [20] * 70))


def test_the_figures_of_parts_add_up_to_those_of_the_whole():
    table = rows(2, 1000)
    borders = [0, 0, 10, 700, 700, 1000]  # two parts without a row
    parts = [table.slice(a, b - a) for a, b in itertools.pairwise(borders)]
    assert sum(map(counted, parts), NOTHING) == counted(table)


def test_findings_say_rate_or_median_and_the_distance_between():
    shift = pa.array(np.full(1500, 0.31), pa.float32())
    before, after = counted(rows(1, 3000)), counted(rows(2, 1500, clip_score=shift))
    found = {one.name: one for one in compare(before, after, GatesConfig())}
    assert list(found) == [*RATES, "shorter_side", "image_bytes", "clip_score"]
    keep = found["keep_rate"]
    assert (keep.before, keep.after) == tuple(s.rate(["kept"]) for s in (before, after))
    assert keep.distance == abs(keep.before - keep.after)
    score = found["clip_score"]
    assert (score.before, score.after) == pytest.approx((0.25, 0.31), abs=0.01)
    below = np.mean(rows(1, 3000)["clip_score"].fill_null(-1).to_numpy() < 0.309)
    assert score.distance == pytest.approx(below, abs=0.02)


def by_chance(draws: int, images: int, from_images: int) -> float:
    """Share of refreshes that would stop though parent and new images are drawn from one pool."""
    gates = GatesConfig(from_images=from_images)
    sides = (counted(rows(key, images)) for key in range(2 * draws))
    pairs = zip(sides, sides, strict=True)
    return sum(any(f.out for f in compare(a, b, gates)) for a, b in pairs) / draws


def test_chance_stops_no_refresh_from_a_thousand_images_on_and_many_below():
    """None of 300 here; 1 in 100,000 of a rate around one half by its deviation, GatesConfig."""
    assert by_chance(300, images=1000, from_images=1000) == 0
    assert by_chance(100, images=50, from_images=1) > 0.2


def test_few_images_are_not_gated_and_that_is_said():
    kept = pa.array([None] * 999, pa.string())
    before, after = counted(rows(1, 3000)), counted(rows(2, 999, reason=kept))
    for one, other in ((before, after), (after, before)):
        found = compare(one, other, GatesConfig())
        assert {(f.why, f.allowed, f.out) for f in found} == {("too few images", None, False)}
    assert out(before, after, from_images=999) == {"keep_rate", "duplicate_rate"}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("error_rate", lambda t: {"reason": [r or "unreadable" for r in t["reason"].to_pylist()]}),
        ("keep_rate", lambda t: {"reason": [r or "low_score" for r in t["reason"].to_pylist()]}),
        ("duplicate_rate", lambda t: {"reason": ["semantic_duplicate"] * t.num_rows}),
        ("shorter_side", lambda t: {"width": [96] * t.num_rows}),
        ("image_bytes", lambda t: {"nbytes": [n // 3 for n in t["nbytes"].to_pylist()]}),
        ("clip_score", lambda t: {"clip_score": [0.2] * t.num_rows}),
    ],
)
def test_what_has_changed_is_out_and_its_band_alone_lets_it_pass(name, change):
    before, table = counted(rows(1, 3000)), rows(2, 2000)
    after = counted(rows(2, 2000, **change(table)))
    found = out(before, after)
    assert name in found
    band = "scores" if name == "clip_score" else name
    assert out(before, after, **{band: None}) == found - {name}


def test_a_shift_of_half_a_deviation_is_the_default_band():
    """So it is of normal distributions: a little less passes, a little more does not."""
    random = np.random.default_rng(5)
    before = counted(rows(1, 40_000, clip_score=random.normal(0.25, 0.05, 40_000)))
    for shift, stops in ((0.022, False), (0.028, True)):
        score = random.normal(0.25 + shift, 0.05, 40_000)
        after = counted(rows(2, 40_000, clip_score=score))
        assert ("clip_score" in out(before, after)) == stops


def test_a_model_that_fell_silent_is_out():
    silent = pa.array([float("nan")] * 1500, pa.float32())
    before, after = counted(rows(1, 3000)), counted(rows(2, 1500, clip_score=silent))
    assert out(before, after) == {"clip_score"}
    assert out(after, after) == set()


def test_a_parent_without_scores_is_compared_in_all_else():
    before, after = counted(rows(1, 3000).drop_columns(["clip_score"])), counted(rows(2, 1500))
    found = {one.name: one for one in compare(before, after, GatesConfig())}
    score = found["clip_score"]
    assert (score.why, score.out, score.allowed) == ("nothing to compare", False, None)
    assert np.isnan(score.before)
    assert score.after == pytest.approx(0.25, abs=0.01)
    assert [one.why for name, one in found.items() if name != "clip_score"] == [""] * 5


def test_a_column_of_one_value_is_like_itself_and_unlike_another():
    same = counted(rows(1, 2000, clip_score=[0.3] * 2000))
    other = counted(rows(2, 2000, clip_score=[0.4] * 2000))
    assert out(same, counted(rows(3, 2000, clip_score=[0.3] * 2000))) == set()
    assert out(same, other) == {"clip_score"}


def test_nothing_is_compared_with_nothing():
    empty = counted(rows(1, 0))
    for one in compare(empty, NOTHING, GatesConfig(from_images=1)):
        assert np.isnan([one.before, one.after, one.distance]).all()
        assert not one.out


def test_rows_of_a_replaced_source_count_nowhere():
    table = rows(1, 1000)
    reason = [Reason.SOURCE_REPLACED] * 600 + table["reason"].to_pylist()[600:]
    found = counted(rows(1, 1000, reason=pa.array(reason, pa.string())))
    assert found == counted(table.slice(600))


def test_columns_are_those_that_figures_need():
    table = rows(1, 1200)
    narrow = table.select(["reason", *sorted(columns(SCORES))])
    assert counted(narrow) == counted(table)
    assert counted(table, ()).spreads.keys() == {"shorter_side", "image_bytes"}
    assert figures(table, ["nbytes"]).spreads["nbytes"] == counted(table).spreads["image_bytes"]


def test_figures_of_no_rows_are_the_sum_of_none():
    assert Figures(Counter(), {}) + counted(rows(1, 5)) == counted(rows(1, 5))
