"""The plan: a verdict for every row, whatever the order, and never changed by newcomers."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.decide.cut import CutConfig
from pipeline.decide.decontaminate import DecontaminateConfig
from pipeline.decide.duplicates import DuplicatesConfig
from pipeline.decide.layout import WriteConfig
from pipeline.decide.plan import PLAN_SCHEMA, DecideConfig, Plan, decide
from pipeline.decide.rules import RulesConfig
from pipeline.decide.verdict import keeper_order
from pipeline.format.snapshot import parquet_bytes
from tests.pipeline.decide.test_duplicates import REFERENCES, random_rows
from tests.pipeline.making import rows

ALL = DecideConfig(
    rules=RulesConfig(min_side=20, min_caption_words=2),
    decontaminate=DecontaminateConfig(against=({"url": "s3://b/val.tar"},)),
    cut=CutConfig(top_fraction=0.7),
    duplicates=DuplicatesConfig(),
)
WRITE = WriteConfig(shard_samples=4)


def pool(random: np.random.Generator, count: int) -> pa.Table:
    """Rows with every kind of fault."""
    changes = random_rows(random, count)
    for change in changes:
        change["width"] = int(random.choice([10, 100, 100, 100]))
        change["caption_words"] = int(random.choice([0, 5, 5, 5, 5]))
        change["clip_score"] = [None, float(random.integers(20)) / 20][int(random.random() > 0.1)]
    return rows(*changes)


def planned(table: pa.Table, config: DecideConfig = ALL) -> Plan:
    near = {"phash": table["phash"][0].as_py(), "phash_quality": 100, "sha256": "f" * 64}
    return decide(table, rows(*REFERENCES, near), config, WRITE)


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
        "low_score", "exact_duplicate", "near_duplicate",
    }  # fmt: skip


def test_an_empty_pool_has_an_empty_plan():
    plan = decide(rows(), rows(), ALL, WRITE)
    assert plan.table == PLAN_SCHEMA.empty_table()
    assert plan.counts == {}
    assert len(plan.sha256) == 64


def test_a_pool_without_a_model_needs_no_score_column():
    table = rows({}, {}).drop_columns(["clip_score"])
    assert decide(table, rows(), DecideConfig(), WRITE).counts == {"kept": 2}


def test_kept_rows_lie_in_pool_order():
    changes = [
        {"source": "b", "offset": 1},
        {"source": "a", "offset": 9},
        {"source": "a", "offset": 10},
        {"source": "a", "offset": 2, "key": "z"},
        {"source": "a", "offset": 2, "key": "y"},
    ]
    table = decide(rows(*changes), rows(), DecideConfig(), WriteConfig(shard_samples=2)).table
    assert [(row["source"], row["offset"], row["key"]) for row in table.to_pylist()] == [
        ("a", 2, "y"), ("a", 2, "z"), ("a", 9, "0001"), ("a", 10, "0002"), ("b", 1, "0000"),
    ]  # fmt: skip
    assert table["shard"].to_pylist() == [0, 0, 1, 1, 2]


def test_shuffled_rows_in_other_chunks_get_the_same_plan():
    random = np.random.default_rng(3)
    for _ in range(15):
        table = pool(random, 40)
        plan = planned(table)
        near = {"phash": table["phash"][0].as_py(), "phash_quality": 100, "sha256": "f" * 64}
        shuffled = table.take(pa.array(random.permutation(40)))
        chunks = pa.concat_tables(
            [shuffled.slice(0, 13), shuffled.slice(13, 1), shuffled.slice(14)]
        )
        again = decide(chunks, rows(*REFERENCES, near), ALL, WRITE)
        assert again.table.equals(plan.table)
        assert again.sha256 == plan.sha256
        assert again.cuts == plan.cuts


def test_the_digest_is_that_of_the_verdicts_and_not_of_how_they_are_held(tmp_path):
    plan = planned(pool(np.random.default_rng(4), 50))
    (tmp_path / "plan.parquet").write_bytes(parquet_bytes(plan.table))
    read = pa.parquet.read_table(tmp_path / "plan.parquet")
    pieces = pa.concat_tables([plan.table.slice(0, 20), plan.table.slice(20)])
    rebuilt = pa.Table.from_pylist(plan.table.to_pylist(), schema=PLAN_SCHEMA)
    beyond = pa.concat_tables([plan.table, plan.table]).slice(50)
    for other in (read, pieces, rebuilt, beyond):
        assert Plan(other, {}).sha256 == plan.sha256


def test_the_digest_changes_with_any_verdict():
    plan = planned(pool(np.random.default_rng(5), 30))
    digests = {plan.sha256}
    for name in PLAN_SCHEMA.names:
        column = plan.table[name].to_pylist()
        changed = {"keep": not column[7], "detail": "x", "reason": "y"}.get(name)
        if changed is None:
            changed = 77 if isinstance(column[0], int) or name in ("shard", "position") else "other"
        column[7] = changed
        at = plan.table.column_names.index(name)
        table = plan.table.set_column(
            at, PLAN_SCHEMA.field(name), pa.array(column, PLAN_SCHEMA.field(name).type)
        )
        digests.add(Plan(table, {}).sha256)
    digests.add(Plan(plan.table.slice(1), {}).sha256)
    assert len(digests) == len(PLAN_SCHEMA.names) + 2


@pytest.mark.parametrize("of", ["scored", "survivors"])
def test_rows_of_a_later_generation_never_change_an_older_verdict(of):
    random = np.random.default_rng(6)
    config = ALL.model_copy(update={"cut": CutConfig(top_fraction=0.7, of=of)})
    met = 0
    for _ in range(60):
        table = pool(random, 40)
        old = table.filter(pa.array(table["generation"].to_numpy() < 2))
        near = {"phash": table["phash"][0].as_py(), "phash_quality": 100, "sha256": "f" * 64}
        references = rows(*REFERENCES, near)
        before = decide(old, references, config, WRITE)
        after = decide(table, references, config, WRITE)
        columns = ["source", "key", "offset", "keep", "reason", "detail"]
        kept = after.table.filter(pa.array(after.table["generation"].to_numpy() < 2))
        assert kept.select(columns).equals(before.table.select(columns))
        assert {g: after.cuts[g] for g in before.cuts} == before.cuts
        met += after.table.num_rows - kept.num_rows
    assert met > 100


def test_older_rows_do_change_the_verdicts_of_later_ones():
    rows_of = [{"sha256": "a" * 64, "generation": 1}, {"sha256": "a" * 64, "generation": 0}]
    config = DecideConfig(duplicates=DuplicatesConfig())
    later = decide(rows(rows_of[0]), rows(), config, WRITE)
    both = decide(rows(*rows_of), rows(), config, WRITE)
    assert later.counts == {"kept": 1}
    assert both.table["reason"].to_pylist() == ["exact_duplicate", None]


# The order of keepers


def order(*changes) -> list[int]:
    table = rows(*changes)
    columns = [table[name].to_pylist() for name in ("uid", "source", "key", "offset")]
    score = table["clip_score"].fill_null(float("nan")).to_numpy().astype(float)
    generation = table["generation"].to_numpy().astype(np.int64)
    names = list(zip(*columns, strict=True))
    return keeper_order(generation, score, table["nbytes"].to_numpy(), names).tolist()


SAME = {"uid": "u", "source": "s", "key": "k", "offset": 1}


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"generation": 0, "clip_score": 0.1}, {"generation": 1, "clip_score": 0.9}),
        ({"clip_score": 0.9, "nbytes": 1}, {"clip_score": 0.8, "nbytes": 9}),
        ({"clip_score": -0.9}, {"clip_score": None}),
        ({"nbytes": 9, "uid": "z"}, {"nbytes": 8, "uid": "a"}),
        ({"uid": "a", "source": "z"}, {"uid": "b", "source": "a"}),
        ({"source": "a", "key": "z"}, {"source": "b", "key": "a"}),
        ({"key": "a", "offset": 9}, {"key": "b", "offset": 1}),
        ({"offset": 9}, {"offset": 10}),
    ],
)
def test_keepers_are_ordered_by_generation_score_size_and_name(better, worse):
    assert order(SAME | better, SAME | worse) == [0, 1]
    assert order(SAME | worse, SAME | better) == [1, 0]
