"""`headrace train --ray`: the bits of torchrun's run, and what ends it and does not."""

import signal
from pathlib import Path

import pytest

from tests.chaos.processes import kill, of_session
from tests.jobs.training import (
    STEPS,
    config,
    endless,
    make_mixture,
    newest,
    wait_for,
)
from tests.trainer.runs import assert_bitwise_equal, facts, tensors, written

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mixture(tmp_path_factory, demo_data) -> Path:
    return make_mixture(tmp_path_factory.mktemp("data"), demo_data)


def workers(process) -> list[int]:
    """The processes of Ray that run a rank."""
    commands = of_session(process.pid).items()
    return [pid for pid, command in commands if command.startswith("ray::RayTrainWorker")]


def test_two_ray_workers_give_the_bits_of_two_ranks_of_torchrun(tmp_path, mixture, headrace):
    for name, words in (("torchrun", []), ("ray", ["--ray"])):
        done = headrace("train", config(tmp_path, mixture, name), "--nproc", "2", *words)
        assert done.returncode == 0, done.stderr
        assert f"step {STEPS}/{STEPS}" in done.stdout + done.stderr
    runs = [tmp_path / "torchrun", tmp_path / "ray"]
    assert_bitwise_equal(*(tensors(run, tmp_path, STEPS) for run in runs))
    assert facts(runs[0]) == facts(runs[1])
    assert written(runs[0]) == written(runs[1])


def test_a_worker_that_is_killed_is_replaced_and_a_signal_then_ends_the_run_with_a_checkpoint(
    tmp_path, mixture, headrace
):
    process = headrace.start(
        "train", endless(tmp_path, mixture, "run", checkpoint_every=50), "--nproc", "2", "--ray"
    )
    run = tmp_path / "run"
    wait_for(lambda: newest(run), process)
    lost = workers(process)
    assert len(lost) == 2
    kill(lost[1])
    wait_for(lambda: not set(workers(process)) & set(lost), process)
    left = newest(run)
    again = wait_for(lambda: newest(run) > left and newest(run), process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    assert f"error: {run}: stopped by a signal" in err
    assert newest(run) >= again


def test_what_a_person_must_mend_is_one_line_and_not_tried_again(tmp_path, mixture, headrace):
    path = config(tmp_path, tmp_path / "nowhere.json", "run")
    done = headrace("train", path, "--nproc", "2", "--ray")
    assert done.returncode == 1
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "nowhere.json: no such file" in said
    assert "Traceback" not in done.stderr
    done = headrace("train", path, "--nproc", "4096", "--ray")
    assert done.returncode == 1
    assert "--nproc 4096: the Ray cluster has" in done.stderr
