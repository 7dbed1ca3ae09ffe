"""Another fraction scores nothing again; another checkpoint scores beside the first."""

import re
from pathlib import Path

import pytest
import yaml

from jobs import cluster, compare, curate
from jobs.config import CurateConfig, load
from tests.conftest import DEMO_DATA
from tests.pipeline.measure.test_clip_model import save_model


def config(folder: Path, model: str, fraction: float) -> str:
    """A curation of one tar of the demo's pool by a filter, as a file."""
    fields = {
        "dataset": str(folder / "dataset"),
        "sources": [{"url": str(sorted((DEMO_DATA / "pool").glob("*.tar"))[0])}],
        "measure": {"clip": {"model": model}},
        "decide": {"cuts": [{"top_fraction": fraction}]},
    }
    path = folder / f"{Path(model).name}-{fraction}.yaml"
    path.write_text(yaml.safe_dump(fields))
    return str(path)


def published(folder: Path) -> dict[str, tuple[int, int]]:
    """Every part of the ledger, and which file it is."""
    ledger = folder / "dataset" / "ledger"
    return {
        str(path.relative_to(ledger)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in ledger.rglob("*.parquet")
    }


def families(folder: Path) -> list[Path]:
    return sorted((folder / "dataset" / "ledger" / "clip").iterdir())


@pytest.fixture
def session():
    """One Ray for all that is curated."""
    with cluster.session(2):
        yield


@pytest.mark.slow
def test_fractions_and_filters_are_changed_and_compared(tmp_path, headrace_here, session):
    one, two = (save_model(tmp_path / f"filter{seed}", seed) for seed in (0, 1))
    half, third = config(tmp_path, one, 0.5), config(tmp_path, one, 0.3)
    curate.run(load(half, CurateConfig))
    first = published(tmp_path)
    assert len(families(tmp_path)) == 1

    curate.run(load(third, CurateConfig))
    assert published(tmp_path) == first

    other = config(tmp_path, two, 0.3)
    curate.run(load(other, CurateConfig))
    both = published(tmp_path)
    assert len(families(tmp_path)) == 2
    assert {part: both[part] for part in first} == first
    assert {Path(part).parts[0] for part in both.keys() - first.keys()} == {"clip"}

    found = compare.run(third, other)
    enter, leave = (sum(m.total for m in moves) for moves in (found.entering, found.leaving))
    assert enter == leave > 0
    said = headrace_here("plan", "--compare", third, other)
    assert said.returncode == 0, said.stderr
    assert re.search(rf"\b{enter:,} enter, {leave:,} leave", said.stdout)
