"""The plan's files: a row's number in the pool is its address."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline import plan
from pipeline.format import writing
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import parquet_bytes
from tests.pipeline.decide.deciding import decided
from tests.pipeline.decide.test_decide import ALL, WRITE, pool, references_of


@pytest.fixture(scope="module")
def whole() -> pa.Table:
    table = pool(np.random.default_rng(4), 50)
    return decided(table, ALL, WRITE, references_of(table)).table


SIZES = (0, 20, 0, 0, 29, 1, 0)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory, whole) -> str:
    """The plan as it is published, in parts of which some are empty."""
    url = f"file://{tmp_path_factory.mktemp('snapshot')}"
    first = np.concatenate([[0], np.cumsum(SIZES)])[:-1].tolist()
    for number, (begin, size) in enumerate(zip(first, SIZES, strict=True)):
        plan.write_part(url, number, whole.slice(begin, size))
    facts = [
        {"source": f"s3://b/{n}", "part": f"{n}", "first_row": begin, "rows": size}
        for n, (begin, size) in enumerate(zip(first, SIZES, strict=True))
    ]
    sources = pa.Table.from_pylist(facts, plan.SOURCES_SCHEMA)
    writing.publish(plan.sources_url(url), parquet_bytes(sources))
    return url


def test_all_parts_come_back_in_pool_order(snapshot, whole):
    assert plan.read(snapshot).equals(whole)
    assert plan.read(snapshot, ["keep", "uid"]).column_names == ["uid", "keep"]


def test_every_row_is_found_by_its_number(snapshot, whole):
    sources = plan.read_sources(snapshot)
    for row, verdict in enumerate(whole.to_pylist()):
        assert plan.row_at(snapshot, sources, row) == verdict


def test_a_missing_part_is_named(snapshot):
    with pytest.raises(HeadraceError, match=r"plan/00000099\.parquet"):
        plan.read_part(snapshot, 99)


def test_counts_add_up_to_the_rows(whole):
    counts = plan.counts(whole)
    assert sum(counts.values()) == whole.num_rows
    assert counts["kept"] == sum(whole["keep"].to_pylist())


def test_the_digest_is_that_of_the_verdicts_and_not_of_how_they_are_held(snapshot, whole):
    pieces = pa.concat_tables([whole.slice(0, 20), whole.slice(20)])
    rebuilt = pa.Table.from_pylist(whole.to_pylist(), schema=plan.PLAN_SCHEMA)
    beyond = pa.concat_tables([whole, whole]).slice(50)
    for other in (pieces, rebuilt, beyond, plan.read(snapshot)):
        assert plan.digest(other) == plan.digest(whole)


def test_the_digest_changes_with_any_verdict(whole):
    digests = {plan.digest(whole), plan.digest(whole.slice(1))}
    for name in plan.PLAN_SCHEMA.names:
        field = plan.PLAN_SCHEMA.field(name)
        column = whole[name].to_pylist()
        column[7] = {pa.string(): "other", pa.bool_(): not column[7]}.get(field.type, 77)
        at = plan.PLAN_SCHEMA.get_field_index(name)
        digests.add(plan.digest(whole.set_column(at, field, pa.array(column, field.type))))
    assert len(digests) == len(plan.PLAN_SCHEMA.names) + 2
