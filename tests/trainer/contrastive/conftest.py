"""A filter's training of a few seconds."""

import pytest

from pipeline.format.mixture import Mixture, mixture_bytes
from tests.trainer.contrastive.models import VIT
from tests.trainer.contrastive.runs import STEPS


@pytest.fixture
def filter_config(tmp_path, mixture: Mixture) -> dict:
    """Over two sources of real pictures with their captions."""
    (tmp_path / "pairs.json").write_bytes(mixture_bytes(mixture))
    return {
        "run": str(tmp_path / "run"),
        "pairs": str(tmp_path / "pairs.json"),
        "model": VIT,
        "stream": {"batch": 16, "lanes": 4, "image_size": 32},
        "optimiser": {"lr": 1e-3},
        "steps": STEPS,
        "log_every": 3,
        "checkpoint_every": 4,
        "threads": 1,
    }


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Whatever started the tests, they are not ranks of it."""
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
