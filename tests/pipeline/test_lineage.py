"""The pool of a child: the parent's parts first, in their order, then what is new."""

import dataclasses

import pyarrow as pa
import pytest

from pipeline import plan
from pipeline.format import writing
from pipeline.format.snapshot import Snapshot, parquet_bytes
from pipeline.lineage import after, root
from pipeline.pool.sample import Part


def part(source: str, name: str) -> Part:
    return Part("webdataset", f"file:///pool/{source}", name, 10, files=("sidecar",))


ONE, TWO, THREE = part("1.tar", "one"), part("2.tar", "two"), part("3.tar", "three")


@pytest.fixture
def parent(tmp_path) -> Snapshot:
    """A snapshot of ONE (generation 0), TWO (1) and no more."""
    snapshot = Snapshot(
        dataset=f"file://{tmp_path}",
        id="ab",
        parent=None,
        config={},
        plan_sha256="",
        counts={},
        not_downloaded=7,
        shards=(),
        ledger={},
        libraries={},
    )
    rows = [
        {"source": p.source, "format": p.format, "part": p.name, "nbytes": p.nbytes} | more
        for p, more in (
            (TWO, {"generation": 1, "first_row": 0, "rows": 3, "not_downloaded": 7}),
            (ONE, {"generation": 0, "first_row": 3, "rows": 2, "not_downloaded": 0}),
        )
    ]
    table = pa.Table.from_pylist(rows, plan.SOURCES_SCHEMA)
    writing.publish(plan.sources_url(snapshot.url), parquet_bytes(table))
    return snapshot


def test_a_first_snapshot_has_all_that_is_listed_in_one_generation():
    found = root([ONE, TWO])
    assert (found.parts, found.generations) == ((ONE, TWO), (0, 0))
    assert found.new == (ONE, TWO)
    assert found.parent is None


def test_the_parents_parts_come_first_in_their_order_and_new_ones_are_a_generation(parent):
    found = after(parent, [part("0.tar", "zero"), ONE, TWO, THREE])
    assert [p.name for p in found.parts] == ["two", "one", "zero", "three"]
    assert found.generations == (1, 0, 2, 2)
    assert found.new == (part("0.tar", "zero"), THREE)
    assert found.parts[0] is TWO, "what is listed knows its files"
    assert found.not_downloaded == (7, 0)
    assert not found.gone
    assert not found.replaced


def test_a_source_that_is_no_longer_listed_stays(parent):
    found = after(parent, [TWO])
    assert found.parts == (TWO, dataclasses.replace(ONE, files=()))
    assert found.gone == {"one"}
    assert not found.replaced
    assert not found.new


def test_a_source_that_changed_in_place_is_a_new_part_beside_the_old_one(parent):
    found = after(parent, [part("1.tar", "one again"), TWO])
    assert [p.name for p in found.parts] == ["two", "one", "one again"]
    assert found.gone == found.replaced == {"one"}


def test_a_part_that_was_replaced_stays_so_when_its_source_is_no_longer_listed(parent):
    """Of a source that came twice the parent's verdicts say which part was replaced."""
    table = plan.read_sources(parent.url)
    twice = pa.Table.from_pylist(
        [row | {"source": ONE.source} for row in table.to_pylist()], plan.SOURCES_SCHEMA
    )
    writing.publish(plan.sources_url(parent.url), parquet_bytes(twice))
    for fallen, stands in ((0, 1), (1, 0)):  # the older part stands where the source changed back
        plan.write_part(parent.url, fallen, pa.table({"reason": ["source_replaced"]}))
        plan.write_part(parent.url, stands, pa.table({"reason": ["too_small", None]}))
        found = after(parent, [THREE])
        assert found.replaced == {("two", "one")[fallen]}
        assert not found.is_as_before
        assert after(parent, []).is_as_before


def test_a_rebase_knows_its_parent_and_takes_what_is_listed(parent):
    found = root([ONE, THREE], parent)
    assert (found.parts, found.generations, found.inherited) == ((ONE, THREE), (0, 0), 0)
    assert found.parent is parent
