"""Runs that are asked to stop at any place: they end with 75, and go on as if they had not."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainer.ranks import worlds
from tests.trainer.runs import assert_bitwise_equal, facts, named, newest, tensors, train, written
from trainer import checkpoint, metrics
from trainer.control import STOPPED

SIGNALLED = Path(__file__).with_name("signalled.py")

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


def signalled(config: dict, number: str, rank: int, *place, ranks: int = 1) -> list[int]:
    """Runs it, without a launcher that would stop one rank for another, until the signal ends it.

    `rank` gets it at a place: step, phase, times. The exit codes of the ranks.
    """
    path = Path(config["mixture"]).with_name(f"{Path(config['run']).name}.json")
    path.write_text(json.dumps(config))
    command = [sys.executable, SIGNALLED, path, number, *map(str, (rank, *place))]
    ours = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    processes = [
        subprocess.Popen(command, env=ours | world, stderr=subprocess.PIPE, text=True)
        for world in (worlds(ranks) if ranks > 1 else [{}])
    ]
    for process in processes:
        process.communicate(timeout=240)
    return [process.returncode for process in processes]


def state(config: dict) -> dict:
    return checkpoint.read_state(newest(config))


def validated(config: dict) -> list[int]:
    lines = metrics.read(Path(config["run"]) / "metrics.jsonl")
    return [line["step"] for line in lines if "validation" in line]


def test_a_stop_in_the_middle_of_a_validation_is_made_good_on_resume(config, tmp_path):
    whole = train(named(config, "whole"))
    broken = named(config, "broken")
    assert signalled(broken, "SIGTERM", 0, 12, "validation", 3) == [STOPPED]
    assert (state(broken)["step"], state(broken)["validated"]) == (12, 0)
    assert signalled(broken, "SIGKILL", 0, 13, "data", 1) == [-signal.SIGKILL]
    assert validated(broken) == [0, 12]
    assert state(broken)["step"] == 12
    resumed = train(broken)
    assert facts(whole) == facts(resumed)
    assert written(whole) == written(resumed)
    assert_bitwise_equal(tensors(whole, tmp_path), tensors(resumed, tmp_path))


def test_a_stop_before_the_first_step_changes_no_bit(config, tmp_path):
    whole = train(named(config, "whole"))
    broken = named(config, "broken")
    assert signalled(broken, "SIGTERM", 0, 0, "validation", 3) == [STOPPED]
    assert state(broken)["step"] == 0
    resumed = train(broken)
    assert facts(whole) == facts(resumed)
    assert_bitwise_equal(tensors(whole, tmp_path), tensors(resumed, tmp_path))


def test_two_ranks_stopped_at_any_step_by_one_of_them_resume_to_the_same_bits(run_config, tmp_path):
    config = run_config | {"log_every": 1, "checkpoint_every": 5}
    whole = train(named(config, "whole"), ranks=2)
    broken = named(config, "broken")
    drawn = random.Random(2401_08541)
    for begin in (1, 12):
        step = drawn.randrange(begin, begin + 9)
        number, rank = drawn.choice(["SIGTERM", "SIGUSR1"]), drawn.randrange(2)
        codes = signalled(broken, number, rank, step, "data", 1, ranks=2)
        assert codes == [STOPPED, STOPPED]
        assert step < state(broken)["step"] <= step + 2
    resumed = train(broken, ranks=2)
    assert facts(whole) == facts(resumed)
    assert written(whole) == written(resumed)
    assert_bitwise_equal(tensors(whole, tmp_path), tensors(resumed, tmp_path))
