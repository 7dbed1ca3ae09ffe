"""A filter out of a run's checkpoint, as a folder that open_clip reads."""

from typing import Any

from pipeline.clip import saving
from pipeline.clip.names import LOCAL
from pipeline.clip.opening import new_model
from pipeline.format.errors import HeadraceError
from trainer import checkpoint, fork
from trainer.contrastive.towers import Towers

PREPROCESS = {"interpolation": "bicubic", "resize_mode": "squash"}
"""Scoring sees whole images, as training nearly does; open_clip's default would crop them."""


def export(run: str, out: str) -> str:
    """Writes the weights of a run's newest checkpoint, or of one that is named, to a folder.

    Needs nothing but the checkpoint. `filter.json` there tells where the weights are from; the same
    checkpoint gives the same bytes. Returns what `named` does. Raises HeadraceError if there is no
    complete checkpoint, or if it is not a filter's.
    """
    url = fork.parent_of(run)
    state = checkpoint.read_state(url)
    config = state["config"]
    if "pixels" not in config:
        raise HeadraceError(f"{url}: no checkpoint of a filter; `headrace export` takes an AIM's")
    towers = Towers(new_model(config["model"], config["seed"], f"{url}: model").clip)
    checkpoint.load_weights(url, towers)
    weights = towers.clip.state_dict()
    saving.save(out, config["model"], PREPROCESS | config["pixels"], weights, _of(state))
    return named(out)


def named(out: str) -> str:
    """`local-dir:<out>`, as open_clip calls a folder; the URL of a store, which it cannot read."""
    return out if "://" in out else LOCAL + out


def _of(state: dict[str, Any]) -> dict[str, Any]:
    """What made these weights. No time, no host and no place."""
    parent = state["parent"] or {}
    return {
        "config": state["config"],
        "step": state["step"],
        "delivered": state["delivered"]["digest"],
        "stream": state["stream"]["identity"],
        "fork": {name: value for name, value in parent.items() if name != "run"} or None,
        "parent_sha256": state["config"]["pretrained_sha256"],
    }
