"""SIGKILL at any moment: the bytes of an undisturbed run, and nothing finished is done again."""

import time

import pytest

from tests.chaos.processes import kill, of_session
from tests.chaos.rounds import KINDS, Pool, play, undisturbed, victims
from tests.jobs import curation

pytestmark = pytest.mark.slow

SEED = 1


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Pool:
    return undisturbed(tmp_path_factory.mktemp("undisturbed") / "run")


def wait_for(condition, process, seconds=200):
    """Polls until the condition gives something; the job must still be running then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("the moment to kill did not come")


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_at_a_random_moment_changes_no_byte_and_repeats_nothing_finished(
    tmp_path, pool, kind
):
    found = play(kind, SEED, tmp_path / kind, pool)
    assert found.killed
    assert found.same
    assert found.kept
    assert found.again == (kind == "driver")


def test_a_driver_killed_while_it_writes_leaves_no_snapshot(tmp_path, headrace, pool):
    config = curation.config_file(tmp_path, **pool.fields)
    dataset = tmp_path / "dataset"
    process = headrace.start("curate", config, "--workers", "1")
    wait_for(lambda: list(dataset.glob("shards/*/*")), process)
    process.kill()
    process.communicate()
    if not list(dataset.glob("snapshots/*/manifest.json")):
        assert not (dataset / "LATEST").exists()
    again = headrace("curate", config, "--workers", "1")
    assert again.returncode == 0, again.stderr
    assert curation.contents(dataset) == pool.contents


def test_a_model_that_always_dies_ends_the_job_with_the_part_it_died_of(tmp_path, headrace, pool):
    config = curation.config_file(tmp_path, **pool.fields)
    process = headrace.start("measure", config, "--workers", "1")
    while process.poll() is None:
        for pid in victims("actor", process.pid):
            kill(pid)
        time.sleep(0.05)
    _, err = process.communicate()
    assert process.returncode == 1
    last = err.splitlines()[-1]
    assert last.startswith("error: file://"), err
    assert "00000000.tar: the process that runs the model 'clip' died 3 times" in last
    assert "Traceback" not in err


def test_a_driver_whose_ray_is_gone_says_so_and_does_not_wait_for_ever(tmp_path, headrace, pool):
    config = curation.config_file(tmp_path, **pool.fields)
    process = headrace.start("curate", config, "--workers", "1")
    wait_for(lambda: victims("worker", process.pid), process)
    for pid, command in of_session(process.pid).items():
        if command.split("\0")[0].endswith("/raylet"):
            kill(pid)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert err.splitlines()[-1].startswith("error: Ray's own process on this machine has ended"), (
        err
    )
