"""What a run says of its code and sources."""

import importlib.metadata
import subprocess
from pathlib import Path

import pytest
import torch

from trainer import origin
from trainer.stream.config import StreamConfig
from trainer.stream.stream import Stream

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stream(mixture):
    with Stream(mixture, StreamConfig(batch=4, lanes=2, image_size=32)) as opened:
        yield opened


def test_versions_and_snapshots_are_written_down(mixture, stream):
    found = origin.of(stream)
    assert found["headrace"] == importlib.metadata.version("headrace")
    assert found["torch"] == torch.__version__
    assert found["sources"]["web"] == {
        "url": mixture.sources[0].snapshot,
        "samples": 23,
        "weight": 4,
    }


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not run from a repository")
def test_the_commit_is_that_of_the_code(stream):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    assert origin.of(stream)["commit"].rstrip("+") == head.stdout.strip()
