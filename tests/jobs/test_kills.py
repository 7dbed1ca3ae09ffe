"""SIGKILL at any moment, run again: the bytes of an undisturbed run."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from jobs import curate
from tests.jobs import curation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, str]:
    dataset = tmp_path_factory.mktemp("undisturbed") / "dataset"
    curate.run(curation.config(dataset), workers=2)
    return curation.contents(dataset)


def wait_for(condition, process, seconds=120):
    """Polls until the condition gives something; the job must still be running then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("the moment to kill did not come")


def parts(dataset: Path) -> list[Path]:
    return list(dataset.glob("ledger/image/*/*.parquet"))


@pytest.mark.parametrize("finished", [1, 4])
def test_a_killed_driver_is_resumed_to_the_same_bytes(tmp_path, headrace, undisturbed, finished):
    config = curation.config_file(tmp_path)
    dataset = tmp_path / "dataset"
    process = headrace.start("curate", config, "--workers", "1")
    wait_for(lambda: len(parts(dataset)) >= finished, process)
    process.kill()
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in parts(dataset)}
    assert 0 < len(before) < 7
    again = headrace("curate", config, "--workers", "2")
    assert again.returncode == 0, again.stderr
    assert curation.contents(dataset) == undisturbed
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_driver_killed_while_it_writes_leaves_no_snapshot(tmp_path, headrace, undisturbed):
    config = curation.config_file(tmp_path)
    dataset = tmp_path / "dataset"
    process = headrace.start("curate", config, "--workers", "1")
    wait_for(lambda: list(dataset.glob("shards/*/*")), process)
    process.kill()
    process.communicate()
    if not list(dataset.glob("snapshots/*/manifest.json")):
        assert not (dataset / "LATEST").exists()
    again = headrace("curate", config, "--workers", "1")
    assert again.returncode == 0, again.stderr
    assert curation.contents(dataset) == undisturbed


def ray_workers(process: subprocess.Popen) -> list[int]:
    """Processes of this job's Ray that run a task of ours right now."""
    found = subprocess.run(
        ["pgrep", "-s", str(process.pid), "-f", "ray::_image_task"],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(pid) for pid in found.stdout.split()]


def test_a_killed_worker_changes_no_byte(tmp_path, headrace, undisturbed):
    config = curation.config_file(tmp_path)
    process = headrace.start("curate", config, "--workers", "2")
    worker = wait_for(lambda: ray_workers(process), process)[0]
    os.kill(worker, signal.SIGKILL)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert curation.contents(tmp_path / "dataset") == undisturbed
