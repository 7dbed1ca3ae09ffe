"""What is left ready for a machine with a GPU runs, at tiny sizes, without one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def dry_run(name: str, out: Path, *more: str) -> list[dict]:
    command = [sys.executable, "-m", f"tests.benchmarks.trainer.{name}", "--dry-run", *more]
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_steps_are_timed_and_what_the_device_lacks_is_a_row_that_says_so(tmp_path):
    ways = ["eager", "graph"]
    more = ("--models", "aim-1b", "--steps", "1", "--profile", "--only", *ways)
    eager, graph = dry_run("gpu_step", tmp_path / "rows.jsonl", *more)
    assert eager["images_per_second"] > 0
    assert abs(sum(eager["shares"].values()) - 1) < 0.01
    assert [eager["way"], graph["way"]] == ways
    assert "no CUDA graphs" in graph["failed"]


def test_the_stream_feeds_steps_and_its_waits_are_told(tmp_path):
    more = ("--steps", "1", "--batch", "4", "--threads", "1")
    turns = dry_run("gpu_feed", tmp_path / "turns.jsonl", *more)
    assert all(turn["made"] > 0 and turn["fed"] > 0 and turn["alone"] > 0 for turn in turns)
    assert all(0 <= turn["waits"]["data"] <= 1 for turn in turns)


@pytest.mark.slow
def test_one_command_runs_all_that_a_gpu_is_wanted_for():
    command = [sys.executable, "-m", "tests.benchmarks.trainer.gpu", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("gpu_attention", "gpu_step", "gpu_feed"))
    assert "| aim-600m |" in done.stdout
