"""Runs of the trainer in processes of their own: exact resume, any number of ranks, clear ends."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from pipeline.format.mixture import Mixture, mixture_bytes
from trainer import checkpoint, metrics

MODEL = {
    "image_size": 32,
    "patch_size": 8,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "head_width": 32,
    "head_depth": 1,
}
STEPS = 24


@pytest.fixture
def config(tmp_path, mixture: Mixture, trusted) -> dict:
    """A run of a few seconds over two sources."""
    (tmp_path / "mixture.json").write_bytes(mixture_bytes(mixture))
    return {
        "run": str(tmp_path / "run"),
        "mixture": str(tmp_path / "mixture.json"),
        "validation": trusted.url,
        "model": MODEL,
        "stream": {"batch": 16, "lanes": 4, "image_size": 32},
        "steps": STEPS,
        "log_every": 3,
        "validate_every": 12,
        "checkpoint_every": 4,
        "threads": 1,
    }


def start(config: dict, ranks: int = 1) -> subprocess.Popen:
    path = Path(config["mixture"]).with_name(f"{Path(config['run']).name}.json")
    path.write_text(json.dumps(config))
    launch = [sys.executable, "-m"]
    if ranks > 1:
        launch += ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]
    command = [*launch, "trainer", str(path)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def train(config: dict, ranks: int = 1) -> Path:
    process = start(config, ranks)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return Path(config["run"])


def named(config: dict, name: str, **changes) -> dict:
    return config | {"run": str(Path(config["run"]).with_name(name))} | changes


def tensors(run: Path, tmp_path: Path, step: int = STEPS) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, weights and moments, flat."""
    file = tmp_path / f"{run.name}-{step}.pt"
    dcp_to_torch_save(run / "checkpoints" / f"{step:08d}", file)
    flat: dict[str, torch.Tensor] = {}

    def walk(name: str, value) -> None:
        if isinstance(value, torch.Tensor):
            flat[name] = value
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}/{key}", inner)

    walk("", torch.load(file, weights_only=True))
    return flat


def facts(run: Path) -> list[dict]:
    """The log without what a clock says."""
    lines = metrics.read(run / "metrics.jsonl")
    clock = ("images_per_second", "data_wait")
    return [{k: v for k, v in line.items() if k not in clock} for line in lines]


def assert_bitwise_equal(left: dict, right: dict) -> None:
    assert left.keys() == right.keys()
    assert len(left) > 50
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_killed_run_resumed_is_bitwise_the_uninterrupted_one(config, tmp_path):
    whole = train(named(config, "whole"))
    broken = named(config, "broken")
    process = start(broken)
    marker = Path(broken["run"]) / "checkpoints" / "00000008" / checkpoint.MARKER
    while not marker.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.kill()
    process.communicate()
    reached = checkpoint.newest(Path(broken["run"]) / "checkpoints")
    assert 8 <= int(reached.name) < STEPS
    resumed = train(broken)
    assert_bitwise_equal(tensors(whole, tmp_path), tensors(resumed, tmp_path))
    assert facts(whole) == facts(resumed)


def test_one_and_two_ranks_train_on_the_same_batches_to_the_same_losses(config, tmp_path):
    one = facts(train(named(config, "one")))
    two = facts(train(named(config, "two"), ranks=2))
    assert [line.get("digest") for line in one] == [line.get("digest") for line in two]
    assert [line.get("drawn") for line in one] == [line.get("drawn") for line in two]
    losses = [[line["loss"] for line in run if "loss" in line] for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    last = [run[-1]["validation"]["causal"] for run in (one, two)]
    assert last[0] == pytest.approx(last[1], rel=1e-4)


def test_a_checkpoint_of_two_ranks_goes_on_with_one_on_the_same_samples(config):
    whole = facts(train(named(config, "whole")))
    halves = named(config, "halves")
    process = start(halves, ranks=2)
    marker = Path(halves["run"]) / "checkpoints" / "00000004" / checkpoint.MARKER
    while not marker.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.terminate()
    process.communicate()
    resumed = facts(train(halves, ranks=1))
    assert resumed[-2]["digest"] == whole[-2]["digest"]
    assert resumed[-2]["loss"] == pytest.approx(whole[-2]["loss"], rel=1e-3)


def test_training_learns_and_validation_says_so(config):
    losses = [line["validation"] for line in facts(train(config)) if "validation" in line]
    assert len(losses) == 3
    assert losses[-1]["causal"] < 0.9 * losses[0]["causal"]
    assert losses[-1]["prefix"] < 0.9 * losses[0]["prefix"]


def test_a_finished_run_started_again_changes_nothing(config):
    run = train(config)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    train(config)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def fail(config: dict) -> str:
    process = start(config)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in err
    return err


def test_a_resume_under_another_config_is_refused_with_the_difference(config):
    train(named(config, "run", steps=4))
    message = fail(named(config, "run", steps=8))
    assert "steps: was 4, now 8" in message
    wider = named(config, "run", steps=4, model=MODEL | {"embed_dim": 64})
    assert "'embed_dim': 64" in fail(wider)
    changed = named(config, "run", steps=4, stream=config["stream"] | {"seed": 1})
    assert "seed was 0, now 1" in fail(changed)


def test_a_missing_mixture_is_named(config):
    assert "nowhere.json: no such file" in fail(config | {"mixture": "/nowhere.json"})


def test_a_loss_that_is_not_finite_stops_the_run(config):
    message = fail(config | {"optimiser": {"lr": 1e30, "warmup_fraction": 0}})
    assert "no longer finite at step" in message
