"""A fork: a new run that goes on from the weights of another one, under another config.

Weights, moments and the optimiser's step are the parent's, so the learning rate goes on where it
was. The stream is a new one from its own step 0, and what it was told may differ. The fork begins
with a checkpoint of its own: from then on it resumes like any run and needs its parent no more.
"""

from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from pipeline.format.errors import HeadraceError
from trainer import checkpoint
from trainer.stream.identity import differences


def parent_of(where: str) -> Path:
    """The checkpoint that a run's folder, or a checkpoint's own, names.

    Raises HeadraceError if there is none.
    """
    path = Path(where).absolute()
    if (path / checkpoint.MARKER).exists():
        return path
    newest = checkpoint.newest(path / "checkpoints")
    if newest is None:
        raise HeadraceError(f"{path}: no complete checkpoint to fork from in it")
    return newest


def check_same(folder: Path, recorded: dict[str, Any] | None, where: str) -> None:
    """Raises HeadraceError if a run with checkpoints in `folder` is no fork of that parent."""
    path = Path(where).absolute()  # of a run or a checkpoint, which need not be there any more
    if recorded is None or recorded["run"] not in (str(path), str(path.parent.parent)):
        raise HeadraceError(
            f"{folder}: holds checkpoints that were not forked from {path}; fork into a new folder"
        )


def check(path: Path, config: dict[str, Any]) -> None:
    """Raises HeadraceError if a run of this config cannot go on from the checkpoint."""
    state = checkpoint.read_state(path)
    was, now = state["config"]["model"], config["model"]
    if was != now:
        raise HeadraceError(
            f"{path}: a fork keeps the model: {'; '.join(differences(was, now))}; "
            "take the parent's, or train from the beginning"
        )
    if config["steps"] <= state["step"]:
        raise HeadraceError(
            f"{path}: has {state['step']} steps behind it, and `steps` is {config['steps']}; "
            "`steps` counts the parent's too"
        )


def record(path: Path, config: dict[str, Any], identity: dict[str, Any]) -> dict[str, Any]:
    """What the fork remembers of its parent, for its config.json and its checkpoints."""
    state = checkpoint.read_state(path)
    changed = differences(state["config"], config)
    changed += differences(state["stream"]["identity"], identity)
    return {
        "run": str(path.parent.parent),
        "step": state["step"],
        "digest": state["delivered"]["digest"],
        "differences": changed,
    }


def load(path: Path, model: nn.Module, optimiser: Optimizer) -> None:
    """The parent's weights and moments. Betas, decay and rates stay those of the fork's config."""
    ours = [{k: v for k, v in g.items() if k != "params"} for g in optimiser.param_groups]
    checkpoint.load(path, model, optimiser)
    for group, settings in zip(optimiser.param_groups, ours, strict=True):
        group.update(settings)
