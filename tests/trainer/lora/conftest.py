"""The trunk and the pictures of the probes, for LoRA."""

import pytest

from tests.trainer.probing.conftest import (  # noqa: F401
    COLOURS,
    alone,
    test_set,
    train_set,
    trunk,
)


@pytest.fixture
def lora_config(tmp_path, trunk, train_set, test_set) -> dict:  # noqa: F811
    """A training of a second."""
    return {
        "run": str(tmp_path / "run"),
        "weights": trunk,
        "train": train_set.url,
        "test": test_set.url,
        "classes": COLOURS,
        "stream": {
            "batch": 16,
            "lanes": 4,
            "image_size": 32,
            "augment": {"jitter": None, "min_scale": 0.5, "rand": None},
        },
        "optimiser": {"lr": 1e-2},
        "steps": 8,
        "log_every": 2,
        "validate_every": 8,
        "checkpoint_every": 4,
        "threads": 1,
    }
