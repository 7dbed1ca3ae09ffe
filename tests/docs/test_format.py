"""docs/format.md names every column with its type, and every field of what is JSON."""

import re
from dataclasses import fields

import pytest

from pipeline import ledger, plan
from pipeline.format import listing, snapshot
from pipeline.format.mixture import Source
from pipeline.format.snapshot import Shard, Snapshot
from tests.docs.page import DOCS

PAGE = (DOCS / "format.md").read_text()

TABLES = {
    "idx.parquet": snapshot.INDEX_SCHEMA,
    "sources.parquet": plan.SOURCES_SCHEMA,
    "plan": plan.PLAN_SCHEMA,
    "ledger/image": ledger.IMAGE_SCHEMA,
    "ledger/clip": ledger.CLIP_SCHEMA,
    "shards.parquet": listing.SCHEMA,
}


def rows(section: str) -> list[tuple[str, str]]:
    """(name, second cell) of every name in the first cells of a section's tables."""
    _, found, text = PAGE.partition(f"\n## {section}\n")
    assert found, section
    lines = re.findall(r"^\| (`.*?) \| (.*?) \|", text.partition("\n## ")[0], re.M)
    return [(name, second) for first, second in lines for name in re.findall(r"`(\w+)`", first)]


@pytest.mark.parametrize("section", TABLES)
def test_a_tables_columns_are_those_of_its_schema(section):
    assert rows(section) == [(field.name, str(field.type)) for field in TABLES[section]]


def test_the_manifests_fields_are_those_of_a_snapshot():
    names = [name for name, _ in rows("manifest.json")]
    own = [field.name for field in fields(Snapshot) if field.name != "dataset"]
    assert names == ["format", *own, *(field.name for field in fields(Shard))]


def test_the_mixtures_fields_are_those_of_a_source():
    names = [name for name, _ in rows("The mixture file")]
    assert names == [field.name for field in fields(Source)]
