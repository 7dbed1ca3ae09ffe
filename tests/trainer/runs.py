"""Real runs of the trainer, here and in processes of their own, and what they left."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from pipeline.format.errors import HeadraceError
from tests.trainer.ranks import PIPES, ranks, worlds
from trainer import checkpoint, metrics, proof, quarantine
from trainer.config import RunConfig, TrainConfig
from trainer.train import train as train_here

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


def start(config: dict, ranks: int = 1, parent: Path | None = None) -> subprocess.Popen:
    """The program, or torchrun with so many of them."""
    launch = [sys.executable, "-m"]
    if ranks > 1:
        launch += ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]
    command = [*launch, "trainer", write(config), *([str(parent)] if parent else [])]
    return subprocess.Popen(command, **PIPES)


def start_ranks(config: dict, count: int) -> list[subprocess.Popen]:
    """The ranks of a run without torchrun, which a kill would leave them behind."""
    command = [sys.executable, "-m", "trainer", write(config)]
    return [subprocess.Popen(command, env=os.environ | world, **PIPES) for world in worlds(count)]


def write(config: dict) -> Path:
    """The config as the program reads it."""
    path = Path(config["mixture"]).with_name(f"{Path(config['run']).name}.json")
    path.write_text(json.dumps(config))
    return path


def train(config: dict, ranks: int = 1, parent: Path | None = None) -> Path:
    """To the end: in this process, or in one for each of several ranks."""
    if ranks == 1:
        train_here(TrainConfig.model_validate(config), parent=str(parent) if parent else None)
    else:
        finish(start_ranks(config, ranks))
    return Path(config["run"])


EACH = """
import sys
import torch.distributed as dist
from pathlib import Path
from trainer.config import TrainConfig
from trainer.contrastive.config import FilterConfig
from trainer.train import train

kind, *paths = sys.argv[1:]
dist.init_process_group("gloo")
for path in paths:
    train(globals()[kind].model_validate_json(Path(path).read_text()))
dist.destroy_process_group()
"""


def train_each(
    configs: Iterable[dict], count: int, folder: Path, kind: type[RunConfig] = TrainConfig
) -> None:
    """One run after the other: here, or by the same `count` ranks, whose start takes longest."""
    if count == 1:
        for config in configs:
            train_here(kind.model_validate(config))
        return
    paths = []
    for config in configs:
        paths.append(folder / f"{Path(config['run']).name}.json")
        paths[-1].write_text(json.dumps(config))
    with ranks(count, EACH, kind.__name__, *paths) as started:
        finish(started)


def finish(processes: list[subprocess.Popen]) -> None:
    """Waits for ranks that must end well."""
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err


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
    clock = ("images_per_second", "waits", "tflops", "memory_gb", "eta_seconds", "slow")
    return [{k: v for k, v in line.items() if k not in clock} for line in lines]


def written(run: Path) -> list[bytes]:
    """What a run says it was fed."""
    return [(run / name).read_bytes() for name in (proof.NAME, quarantine.NAME)]


def assert_bitwise_equal(left: dict, right: dict) -> None:
    assert left.keys() == right.keys()
    assert len(left) > 50
    assert all(torch.equal(left[name], right[name]) for name in left)


def newest(config: dict) -> str | None:
    return checkpoint.newest(f"{config['run']}/checkpoints")


def kill_at(step: int, config: dict, process: subprocess.Popen) -> None:
    """Kills a run once it has this checkpoint."""
    marker = Path(config["run"]) / "checkpoints" / f"{step:08d}" / checkpoint.MARKER
    while not marker.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.kill()
    process.communicate()


def fail(config: dict, parent: Path | None = None) -> str:
    """What a run that cannot be says, in this process."""
    with pytest.raises(HeadraceError) as raised:
        train(config, parent=parent)
    return str(raised.value)
