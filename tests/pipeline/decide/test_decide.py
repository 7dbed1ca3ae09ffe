"""The plan: a verdict for every row, whatever the order, and never changed by newcomers."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.decide.config import DecideConfig
from pipeline.decide.cut import CutConfig
from pipeline.decide.decontaminate import DecontaminateConfig
from pipeline.decide.duplicates import DuplicatesConfig
from pipeline.decide.layout import WriteConfig
from pipeline.decide.quotas import QuotaConfig
from pipeline.decide.rules import RulesConfig
from pipeline.decide.verdict import JUDGED, keeper_order
from pipeline.plan import PLAN_SCHEMA
from tests.pipeline.decide.deciding import Verdicts, decided
from tests.pipeline.decide.test_duplicates import REFERENCES, random_rows
from tests.pipeline.making import rows

ALL = DecideConfig(
    rules=RulesConfig(min_side=20, min_caption_words=2),
    decontaminate=DecontaminateConfig(against=({"url": "s3://b/val.tar"},)),
    cuts=(CutConfig(top_fraction=0.7),),
    duplicates=DuplicatesConfig(),
    quotas=QuotaConfig(per="domain", at_most=1),
)
WRITE = WriteConfig(shard_samples=4)


def pool(random: np.random.Generator, count: int) -> pa.Table:
    """Rows with every kind of fault."""
    changes = random_rows(random, count)
    for number, change in enumerate(changes):
        change["width"] = int(random.choice([10, 100, 100, 100]))
        change["caption_words"] = int(random.choice([0, 5, 5, 5, 5]))
        change["url"] = f"https://{random.integers(2)}.example/{number}"
        change["clip_score"] = [None, float(random.integers(20)) / 20][int(random.random() > 0.1)]
    return rows(*changes)


def planned(table: pa.Table, config: DecideConfig = ALL, cuts=()) -> Verdicts:
    return decided(table, config, WRITE, references_of(table), cuts)


def references_of(table: pa.Table) -> pa.Table:
    """The evaluation images: one of them looks like the pool's first row."""
    near = {"phashes": table["phashes"][0].as_py(), "phash_quality": 100, "sha256": "f" * 64}
    return rows(*REFERENCES, near)


def test_every_row_has_one_verdict_and_counts_add_up():
    random = np.random.default_rng(1)
    for count in (1, 2, 30, 60):
        table = pool(random, count)
        plan = planned(table)
        assert plan.table.schema == PLAN_SCHEMA
        assert plan.table.num_rows == count == sum(plan.counts.values())
        places = plan.table.select(["source", "key", "offset"]).to_pylist()
        wanted = table.select(["source", "key", "offset"]).to_pylist()
        assert sorted(map(str, places)) == sorted(map(str, wanted))
        for row in plan.table.to_pylist():
            dropped = [row[name] is None for name in ("reason", "detail")]
            at = [row[name] is None for name in ("shard", "position", "shard_key")]
            assert dropped == [row["keep"]] * 2
            assert at == [not row["keep"]] * 3
        assert plan.counts.get("kept", 0) == sum(plan.table["keep"].to_pylist())


def test_all_kinds_of_verdict_are_among_these():
    random = np.random.default_rng(2)
    seen = set()
    for _ in range(10):
        seen |= set(planned(pool(random, 60)).counts)
    assert seen == {
        "kept", "unreadable", "contaminated", "too_small", "caption_too_short", "no_score",
        "low_score", "exact_duplicate", "near_duplicate", "over_quota",
    }  # fmt: skip


def test_an_empty_pool_has_an_empty_plan():
    plan = decided(rows(), ALL, WRITE)
    assert plan.table == PLAN_SCHEMA.empty_table()
    assert plan.counts == {}
    assert len(plan.decided.sha256) == 64


def test_a_pool_without_a_model_needs_no_score_column():
    table = rows({}, {}).drop_columns(["clip_score"])
    assert decided(table, DecideConfig()).counts == {"kept": 2}


def test_kept_rows_lie_in_pool_order():
    changes = [
        {"source": "b", "offset": 1},
        {"source": "a", "offset": 9},
        {"source": "a", "offset": 10},
        {"source": "a", "offset": 2, "key": "z"},
        {"source": "a", "offset": 2, "key": "y"},
    ]
    table = decided(rows(*changes), DecideConfig(), WriteConfig(shard_samples=2)).table
    assert [(row["source"], row["offset"], row["key"]) for row in table.to_pylist()] == [
        ("a", 2, "y"), ("a", 2, "z"), ("a", 9, "0001"), ("a", 10, "0002"), ("b", 1, "0000"),
    ]  # fmt: skip
    assert table["shard"].to_pylist() == [0, 0, 1, 1, 2]


def test_rows_in_any_order_and_in_any_number_of_parts_get_the_same_plan():
    random = np.random.default_rng(3)
    for _ in range(15):
        table = pool(random, 40)
        references = references_of(table)
        plan = decided(table, ALL, WRITE, references)
        shuffled = table.take(pa.array(random.permutation(40)))
        cuts = random.integers(1, 40, 5).tolist()
        again = decided(shuffled, ALL, WRITE, references, cuts)
        assert again.table.equals(plan.table)
        assert again.cuts == plan.cuts


@pytest.mark.parametrize("of", ["scored", "survivors"])
def test_rows_of_a_later_generation_never_change_an_older_verdict(of):
    random = np.random.default_rng(6)
    config = ALL.model_copy(update={"cuts": (CutConfig(top_fraction=0.7, of=of),)})
    met = 0
    for _ in range(30):
        table = pool(random, 40)
        references = references_of(table)
        old = table.filter(pa.array(table["generation"].to_numpy() < 2))
        before = decided(old, config, WRITE, references)
        after = decided(table, config, WRITE, references)
        assert by_place(after, generations=2) == by_place(before, generations=2)
        assert {g: after.cuts[g] for g in before.cuts} == before.cuts
        met += after.table.num_rows - before.table.num_rows
    assert met > 40


def by_place(plan: Verdicts, generations: int) -> dict:
    """The verdicts of older rows, and where they are kept, by where the images lie."""
    found = plan.table.to_pylist()
    names = [(row["source"], row["key"], row["offset"]) for row in found]
    verdict = ("keep", "reason", "detail", "shard", "position", "shard_key")
    return {
        name: [row[field] for field in verdict]
        + [None if row["keeper"] is None else names[row["keeper"]]]
        for name, row in zip(names, found, strict=True)
        if row["generation"] < generations
    }


def test_older_rows_do_change_the_verdicts_of_later_ones():
    rows_of = [{"sha256": "a" * 64, "generation": 1}, {"sha256": "a" * 64, "generation": 0}]
    config = DecideConfig(duplicates=DuplicatesConfig())
    assert decided(rows(rows_of[0]), config).counts == {"kept": 1}
    assert decided(rows(*rows_of), config).reasons == ["exact_duplicate", None]


def test_a_quota_keeps_the_best_of_each_domain():
    urls = ["https://a.org/1", "https://www.a.org/2", "https://b.org/3", None, "https://a.org/4"]
    scores = [0.1, 0.9, 0.2, 0.3, 0.8]
    changes = [{"url": url, "clip_score": s} for url, s in zip(urls, scores, strict=True)]
    config = DecideConfig(quotas=QuotaConfig(per="domain", at_most=1))
    plan = decided(rows(*changes), config)
    assert plan.reasons == ["over_quota", None, None, None, "over_quota"]
    assert plan.table["detail"][0].as_py() == "domain a.org already has 1"


# The order of keepers


def order(*changes) -> list[int]:
    facts = [SAME | {"row": number} | change for number, change in enumerate(changes)]
    return keeper_order(pa.Table.from_pylist(facts, JUDGED)).tolist()


SAME = {"generation": 0, "score": 0.5, "nbytes": 5, "uid": bytes(16), "sha256": bytes(32)}


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"generation": 0, "score": 0.1}, {"generation": 1, "score": 0.9}),
        ({"reason": "contaminated", "score": 0.1}, {"score": 0.9}),
        ({"generation": 0}, {"generation": 1, "reason": "taken_down"}),
        ({"score": 0.9, "nbytes": 1}, {"score": 0.8, "nbytes": 9}),
        ({"score": -0.9}, {"score": None}),
        ({"nbytes": 9, "uid": b"z" * 16}, {"nbytes": 8, "uid": b"a" * 16}),
        ({"uid": b"a" * 16, "row": 9}, {"uid": b"b" * 16, "row": 1}),
        ({"row": 9}, {"row": 10}),
    ],
)
def test_keepers_are_ordered_by_generation_score_size_uid_and_place(better, worse):
    assert order(better | {"row": better.get("row", 1)}, worse | {"row": worse.get("row", 2)}) == [
        0,
        1,
    ]
    assert order(worse | {"row": worse.get("row", 2)}, better | {"row": better.get("row", 1)}) == [
        1,
        0,
    ]
