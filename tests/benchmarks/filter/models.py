"""The models that are timed. Their weights are random: no speed depends on them."""

from pathlib import Path
from typing import Any

from jobs.demo import FILTER_MODEL
from pipeline.clip import saving
from pipeline.clip.names import LOCAL
from pipeline.clip.opening import new_model

DEMO = "demo"
"""The demo's own filter, which takes images of 64 pixels: an architecture that has no name."""


def architecture(name: str) -> str | dict[str, Any]:
    """As open_clip takes it."""
    return FILTER_MODEL if name == DEMO else name


def write(name: str, folder: Path) -> str:
    """A new model as open_clip saves it; returns what opens it."""
    opened = new_model(architecture(name), seed=0, field="model")
    weights = opened.clip.state_dict()
    saving.save(str(folder), opened.model_cfg, opened.preprocess_cfg, weights, {})
    return f"{LOCAL}{folder}"
