"""A pool of everything hostile, measured and curated as a person would: rows with reasons."""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.jobs import curation, hostile
from tests.pipeline import dying

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> tuple[Path, dict[str, hostile.Rows]]:
    folder = tmp_path_factory.mktemp("hostile")
    return folder, hostile.write(folder / "pool")


@pytest.fixture(scope="module")
def curated(pool, headrace):
    """What `headrace curate` said, and its dataset."""
    folder, _ = pool
    fields = {
        "dataset": str(folder / "dataset"),
        "sources": [{"url": str(folder / "pool" / "*.tar")}],
        "decide": {"duplicates": {"radius": 31}},
    }
    config = folder / "curate.yaml"
    config.write_text(yaml.safe_dump(fields))
    process = headrace.start("curate", config, "--workers", "2", env=dying.environment())
    _, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    return err, folder / "dataset"


def rows_of(files) -> dict[str, list[dict]]:
    """The rows of some parquet files by the name of their source."""
    found: dict[str, list[dict]] = {}
    for file in files:
        for row in pq.read_table(file).to_pylist():
            found.setdefault(row["source"].rpartition("/")[2], []).append(row)
    return found


def kind(error: str | None) -> str | None:
    return error and error.partition(":")[0]


def test_every_sample_is_one_row_with_its_facts_or_its_reason(pool, curated):
    _, expected = pool
    _, dataset = curated
    found = rows_of(dataset.glob("ledger/image/*/*.parquet"))
    for shard, rows in expected.items():
        got = Counter((row["key"], kind(row["error"])) for row in found.get(shard, []))
        assert got == Counter(rows), shard


def test_a_good_row_has_its_facts_whatever_stands_beside_it(curated):
    _, dataset = curated
    for rows in rows_of(dataset.glob("ledger/image/*/*.parquet")).values():
        for row in rows:
            if row["error"] is None:
                assert row["sha256"], row
                assert row["width"] > 0, row


def test_the_plan_has_a_verdict_for_each_row_and_drops_the_bad_ones_as_unreadable(pool, curated):
    _, expected = pool
    _, dataset = curated
    found = rows_of(dataset.glob("snapshots/*/plan/*.parquet"))
    for shard, rows in expected.items():
        verdicts = found.get(shard, [])
        assert len(verdicts) == len(rows), shard
        bad = Counter(key for key, error in rows if error)
        unreadable = (row["key"] for row in verdicts if row["reason"] == "unreadable")
        assert Counter(unreadable) == bad, shard


def test_the_console_names_the_parts_that_needed_care(curated):
    said, _ = curated
    assert "deadly.tar: its worker died or hung; measuring it with care" in said
    assert "deadly.tar: isolated 3 decoder_died, 1 decoder_out_of_memory" in said
    assert "hanging.tar: isolated 1 decoder_hung" in said


def test_no_secret_of_a_record_enters_the_dataset(curated):
    _, dataset = curated
    for path in dataset.rglob("*"):
        assert not path.is_file() or b"u:p@" not in path.read_bytes()


def test_a_second_run_finds_nothing_to_measure_and_the_same_snapshot(pool, curated, headrace):
    folder, _ = pool
    before = curation.contents(folder / "dataset")
    again = headrace("curate", folder / "curate.yaml", "--workers", "2")
    assert again.returncode == 0, again.stderr
    assert "measure: 0 parts to do" in again.stderr
    assert curation.contents(folder / "dataset") == before
