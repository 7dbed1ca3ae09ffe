"""Refreshes that are killed, and refreshes at once: the bytes of one that nobody disturbed."""

import random
import shutil
import time
from pathlib import Path

import pytest
import yaml

from jobs import refresh
from pipeline import plan
from tests.chaos.processes import kill_session
from tests.conftest import DEMO_DATA
from tests.jobs import curation

pytestmark = pytest.mark.slow


class Pending:
    """A dataset for which there are new sources and a takedown, and the refresh that is to come."""

    def __init__(self, first: Path, folder: Path) -> None:
        self.dataset, self.config = folder / "dataset", folder / "weekly.yaml"
        shutil.copytree(first, self.dataset)
        kept = (row for row in plan.read(newest(self.dataset).url).to_pylist() if row["keep"])
        deny = [{"kind": "uid", "values": [next(kept)["uid"]]}]
        self.config.write_text(yaml.safe_dump(fields(self.dataset, 2, deny)))


def fields(dataset: Path, tars: int, deny: list) -> dict:
    pool = [{"url": str(tar)} for tar in sorted((DEMO_DATA / "pool").glob("*.tar"))[:tars]]
    rules = curation.fields(dataset)["decide"] | {"lists": {"deny": deny}}
    return curation.fields(dataset, sources=pool, decide=rules, write={"shard_samples": 60})


def newest(dataset: Path):
    found = refresh.newest(curation.config(dataset))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    """A dataset of one tar."""
    dataset = tmp_path_factory.mktemp("first") / "dataset"
    refresh.run(curation.CurateConfig.model_validate(fields(dataset, 1, [])), 2)
    return dataset


@pytest.fixture(scope="module")
def undisturbed(first, tmp_path_factory, headrace) -> tuple[dict[str, str], float]:
    """What the refresh makes of it in peace, and the seconds that it takes."""
    one = Pending(first, tmp_path_factory.mktemp("undisturbed"))
    began = time.monotonic()
    done = headrace("refresh", one.config, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "00000000.tar" in " ".join(path for path in curation.contents(one.dataset))
    return curation.contents(one.dataset), time.monotonic() - began


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_refresh_that_is_run_again_has_the_same_bytes(
    first, undisturbed, tmp_path, headrace, seed
):
    wanted, seconds = undisturbed
    one = Pending(first, tmp_path)
    before = newest(one.dataset).id
    process = headrace.start("refresh", one.config, "--workers", "2")
    time.sleep(random.Random(seed).uniform(0.4, 0.95) * seconds)
    kill_session(process.pid)
    process.communicate()
    manifests = {path.parent.name for path in one.dataset.glob("snapshots/*/manifest.json")}
    assert newest(one.dataset).id in manifests
    assert before in manifests
    again = headrace("refresh", one.config, "--workers", "2")
    assert again.returncode == 0, again.stderr
    assert curation.contents(one.dataset) == wanted


def test_equal_refreshes_at_once_are_harmless(first, undisturbed, tmp_path, headrace):
    wanted, _ = undisturbed
    one = Pending(first, tmp_path)
    both = [headrace.start("refresh", one.config, "--workers", "1") for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    assert curation.contents(one.dataset) == wanted
