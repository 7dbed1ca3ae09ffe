"""Deciding on Ray gives what deciding in this process gives, however many workers there are."""

import numpy as np
import pyarrow as pa
import pytest

from jobs import cluster
from jobs.engine import OnRay
from pipeline.decide.config import DecideConfig
from pipeline.decide.cut import CutConfig
from pipeline.decide.duplicates import DuplicatesConfig
from pipeline.decide.engine import Local
from pipeline.decide.quotas import QuotaConfig
from pipeline.decide.semantic import SemanticConfig
from tests.pipeline.decide.deciding import decided
from tests.pipeline.decide.test_decide import ALL, WRITE, pool, references_of

EVERYTHING = ALL.model_copy(
    update={
        "cuts": (CutConfig(top_fraction=0.9),),
        "duplicates": DuplicatesConfig(semantic=SemanticConfig(clusters=4, cosine=0.95)),
        "quotas": QuotaConfig(per="domain", at_most=1),
    }
)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    random = np.random.default_rng(8)
    table = in_runs(pool(random, 300))
    vectors = random.normal(size=(300, 4))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    return table.append_column("clip_embedding", pa.array(list(vectors), pa.list_(pa.float16())))


def in_runs(table: pa.Table) -> pa.Table:
    """In pool order, three generations one after another: so many parts, and no more."""
    order = [("source", "ascending"), ("offset", "ascending"), ("key", "ascending")]
    generation = pa.array(np.arange(table.num_rows) * 3 // table.num_rows, pa.int32())
    at = table.column_names.index("generation")
    return table.sort_by(order).set_column(at, "generation", generation)


def plan(table: pa.Table, engine, config: DecideConfig = EVERYTHING, cuts=(40, 41, 200)):
    return decided(table, config, WRITE, references_of(table), cuts, engine)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 8])
def test_a_shuffle_over_any_number_of_workers_gives_the_plan_of_one_process(table, workers):
    wanted = plan(table, Local())
    kinds = {None, "near_duplicate", "semantic_duplicate", "over_quota"}
    assert kinds <= set(wanted.reasons)
    with cluster.session(workers):
        found = plan(table, OnRay(group_rows=60))
    assert found.table.equals(wanted.table)
    assert found.decided.sha256 == wanted.decided.sha256
    assert found.decided.counts == wanted.counts


@pytest.mark.slow
def test_a_large_group_of_one_key_stays_together_in_a_shuffle():
    """A quarter of the rows has the same bytes: one of them is kept, and all name it."""
    random = np.random.default_rng(1)
    changes = pa.array([f"{0 if n % 4 else n:064x}" for n in range(4000)])
    table = in_runs(pool(random, 4000))
    table = table.set_column(table.column_names.index("sha256"), "sha256", changes)
    config = DecideConfig(duplicates=DuplicatesConfig(radius=None))
    with cluster.session(2):
        found = plan(table, OnRay(group_rows=500), config)
    assert found.table.equals(plan(table, Local(), config).table)
    assert len(set(found.table["keeper"].drop_null().to_pylist())) >= 1
