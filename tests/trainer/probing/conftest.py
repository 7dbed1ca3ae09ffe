"""A small trunk, and pictures of eight colours that it is probed on."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.format.snapshot import Snapshot
from tests.trainer.conftest import MakeSnapshot, Picture
from trainer.export.record import Record
from trainer.export.write import write
from trainer.model.aim import AIM
from trainer.model.sizes import ModelConfig

COLOURS = ("black", "blue", "cyan", "green", "magenta", "red", "white", "yellow")
CODES = (0, 1, 3, 2, 5, 4, 7, 6)
"""Bits of red, green and blue."""

SHAPE = ModelConfig(
    image_size=32,
    patch_size=8,
    embed_dim=32,
    depth=8,
    num_heads=2,
    head_width=32,
    head_depth=1,
)


def coloured(number: int, size: int = 40) -> Picture:
    """A noisy picture of colour `number` modulo 8."""
    name, code = COLOURS[number % 8], CODES[number % 8]
    colour = np.array([code >> 2 & 1, code >> 1 & 1, code & 1]) * 100 + 78
    noise = np.random.default_rng(number).integers(-60, 61, (size, size, 3))
    out = io.BytesIO()
    Image.fromarray((colour + noise).astype(np.uint8)).save(out, "png")
    return Picture(f"{number:06d}", "png", out.getvalue(), name.encode())


PICTURES = [coloured(number) for number in range(48)]
TESTED = [coloured(number) for number in range(100, 124)]


@pytest.fixture(scope="session")
def train_set(tmp_path_factory, make_snapshot: MakeSnapshot) -> Snapshot:
    """48 pictures in two shards."""
    return make_snapshot(tmp_path_factory.mktemp("train"), PICTURES, [32, 16])


@pytest.fixture(scope="session")
def test_set(tmp_path_factory, make_snapshot: MakeSnapshot) -> Snapshot:
    """24 others: no whole number of batches."""
    return make_snapshot(tmp_path_factory.mktemp("test"), TESTED, [24])


def drawn(seed: int = 0) -> AIM:
    model = AIM(SHAPE)
    model.init_weights(torch.Generator().manual_seed(seed))
    return model


def exported(model: AIM, folder: Path) -> str:
    write(model.state_dict(), str(folder), Record(headrace="1", model=SHAPE, outputs=192))
    return str(folder)


@pytest.fixture(scope="session")
def trunk(tmp_path_factory) -> str:
    """An export of a model that was never trained."""
    return exported(drawn(), tmp_path_factory.mktemp("trunk") / "export")


@pytest.fixture
def probe_config(tmp_path, trunk, train_set, test_set) -> dict:
    """A training of four heads of each kind, of a second."""
    return {
        "run": str(tmp_path / "run"),
        "weights": trunk,
        "train": train_set.url,
        "test": test_set.url,
        "classes": COLOURS,
        "grid": {"lr": [1e-3, 1e-2], "weight_decay": [0.05, 0.1]},
        "stream": {
            "batch": 16,
            "lanes": 4,
            "image_size": 32,
            "augment": {"jitter": None, "min_scale": 0.5, "rand": None},
        },
        "steps": 12,
        "log_every": 3,
        "validate_every": 12,
        "checkpoint_every": 4,
        "threads": 1,
    }


@pytest.fixture(autouse=True)
def alone(monkeypatch) -> None:
    """Whatever started the tests, they are not ranks of it."""
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
