"""Runs that are asked to stop at any moment: they end with 75, and go on as if they had not."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.ranks import worlds
from tests.trainer.runs import (
    STEPS,
    assert_bitwise_equal,
    facts,
    named,
    newest,
    start,
    tensors,
    train,
    written,
)
from trainer import checkpoint, metrics
from trainer.control import STOPPED

pytestmark = pytest.mark.slow


@pytest.fixture
def config(run_config, tmp_path, make_snapshot, pictures) -> dict:
    """A run of a few seconds, most of which are validations of many batches."""
    many = [
        dataclasses.replace(picture, key=f"{turn}-{picture.key}")
        for turn in range(8)
        for picture in pictures
    ]
    validation = make_snapshot(tmp_path / "many", many, [len(many)])
    return run_config | {"validation": validation.url, "checkpoint_every": 1000}


def until(condition: Callable[[], bool], *processes: subprocess.Popen) -> None:
    while not condition():
        assert all(process.poll() is None for process in processes), processes
        time.sleep(0.002)


def logged(config: dict, step: int, field: str) -> Callable[[], bool]:
    """Whether the log has this field of this step."""
    path = Path(config["run"]) / "metrics.jsonl"
    return lambda: any(line["step"] == step and field in line for line in metrics.read(path))


def stop(process: subprocess.Popen, number: signal.Signals = signal.SIGTERM) -> None:
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == STOPPED, err


def state(config: dict) -> dict:
    return checkpoint.read_state(newest(config))


def test_a_stop_in_the_middle_of_a_validation_is_made_good_on_resume(config, tmp_path):
    whole = train(named(config, "whole"))
    broken = named(config, "broken")
    process = start(broken)
    until(logged(broken, 12, "loss"), process)  # the validation comes next
    stop(process)
    reached = state(broken)
    assert (reached["step"], reached["validated"]) == (12, 0)
    process = start(broken)
    until(logged(broken, 12, "validation"), process)
    process.kill()
    process.communicate()
    assert state(broken)["step"] == 12
    resumed = train(broken)
    assert facts(whole) == facts(resumed)
    assert written(whole) == written(resumed)
    assert_bitwise_equal(tensors(whole, tmp_path), tensors(resumed, tmp_path))


def test_a_stop_before_the_first_step_changes_no_bit(config, tmp_path):
    whole = train(named(config, "whole"))
    broken = named(config, "broken")
    process = start(broken)
    until((Path(broken["run"]) / "metrics.jsonl").exists, process)
    stop(process)
    assert state(broken)["step"] == 0
    resumed = train(broken)
    assert facts(whole) == facts(resumed)
    assert_bitwise_equal(tensors(whole, tmp_path), tensors(resumed, tmp_path))


def ranks_of(config: dict) -> list[subprocess.Popen]:
    """Two ranks, without a launcher that would stop one for the other."""
    path = Path(config["mixture"]).with_name(f"{Path(config['run']).name}.json")
    path.write_text(json.dumps(config))
    command, pipe = [sys.executable, "-m", "trainer", str(path)], subprocess.PIPE
    return [
        subprocess.Popen(command, env=os.environ | world, stdout=pipe, stderr=pipe, text=True)
        for world in worlds(2)
    ]


def test_two_ranks_stopped_at_any_step_by_one_of_them_resume_to_the_same_bits(run_config, tmp_path):
    config = run_config | {"log_every": 1, "checkpoint_every": 5}
    whole = train(named(config, "whole"), ranks=2)
    broken = named(config, "broken")
    drawn = random.Random(2401_08541)
    for begin in (1, 12):
        processes = ranks_of(broken)
        until(logged(broken, drawn.randrange(begin, begin + 9), "loss"), *processes)
        drawn.choice(processes).send_signal(drawn.choice([signal.SIGTERM, signal.SIGUSR1]))
        for process in processes:
            _, err = process.communicate(timeout=60)
            assert process.returncode == STOPPED, err
        assert begin <= state(broken)["step"] < STEPS
    for process in ranks_of(broken):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    resumed = Path(broken["run"])
    assert facts(whole) == facts(resumed)
    assert written(whole) == written(resumed)
    assert_bitwise_equal(tensors(whole, tmp_path), tensors(resumed, tmp_path))
