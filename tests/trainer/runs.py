"""Real runs of the trainer in processes of their own, and what they left."""

import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from trainer import checkpoint, metrics, proof, quarantine

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
    path = Path(config["mixture"]).with_name(f"{Path(config['run']).name}.json")
    path.write_text(json.dumps(config))
    launch = [sys.executable, "-m"]
    if ranks > 1:
        launch += ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]
    command = [*launch, "trainer", str(path), *([str(parent)] if parent else [])]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def train(config: dict, ranks: int = 1, parent: Path | None = None) -> Path:
    process = start(config, ranks, parent)
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
    process = start(config, parent=parent)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in err
    return err
