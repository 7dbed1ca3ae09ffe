"""A fork: a new run that goes on from the weights of another one, under another config.

Weights, moments and the optimiser's step are the parent's, so the learning rate goes on where it
was. The stream is a new one from its own step 0, and what it was told may differ. The fork begins
with a checkpoint of its own: from then on it resumes like any run and needs its parent no more.
"""

import json
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from pipeline.format import address, store
from pipeline.format.errors import HeadraceError
from trainer import checkpoint
from trainer.stream.identity import differences


def parent_of(where: str) -> str:
    """The checkpoint that is named: itself, or by its run's folder, or by that of checkpoints.

    Raises HeadraceError if there is none.
    """
    url = _absolute(where)
    if store.exists(address.join(url, checkpoint.MARKER)):
        return url
    newest = checkpoint.newest(_checkpoints(url, _config(url))) or checkpoint.newest(url)
    if newest is None:
        raise HeadraceError(
            f"{url}: no complete checkpoint in it; name a run's folder, that of its checkpoints, "
            "or one of these"
        )
    return newest


def _config(run: str) -> dict[str, Any]:
    """What a run began with, or went on with last; empty if it never began."""
    config = address.join(run, "config.json")
    try:
        fields: dict[str, Any] = json.loads(
            store.read_bytes(config) if store.exists(config) else "{}"
        )
    except ValueError as error:
        raise HeadraceError(f"{config}: no JSON: {error}; restore or delete it") from error
    return fields


def _checkpoints(run: str, config: dict[str, Any]) -> str:
    """Where a run's checkpoints are: its config may name another place than its folder."""
    return config.get("checkpoints") or address.join(run, "checkpoints")


def check_new(folder: Path, where: str, forks: bool) -> None:
    """Raises HeadraceError if a run that `forks`, or does not, must not begin in the folder anew.

    There are no checkpoints of it in `where`.
    """
    config = _config(str(folder))
    kept = _checkpoints(str(folder), config)
    if checkpoint.newest(kept):
        raise HeadraceError(
            f"{folder}: its checkpoints are in {kept}, and `checkpoints` says {where}, which has "
            "none; move them there or change it back, or train in a new folder"
        )
    if config.get("parent") and not forks:
        raise HeadraceError(
            f"{folder}: a fork of {config['parent']['run']}, and without a checkpoint so far; "
            "give --fork again, or train in a new folder"
        )


def _absolute(where: str) -> str:
    """A plain path stays one, as runs record it."""
    return address.absolute(where) if "://" in where else str(Path(where).absolute())


def check_same(checkpoints: str, recorded: dict[str, Any] | None, where: str) -> None:
    """Raises HeadraceError if a run with these checkpoints is no fork of that parent."""
    url = _absolute(where)  # of a run or a checkpoint, which need not be there any more
    if recorded is None or recorded["run"] not in (_named(url), _run_of(url)):
        raise HeadraceError(
            f"{checkpoints}: these checkpoints were not forked from {url}; fork into a new folder"
        )


def _run_of(url: str) -> str:
    """The run's folder that a checkpoint lies in; where it is not in one, that of checkpoints."""
    return _named(url.rpartition("/")[0])


def _named(url: str) -> str:
    """A run by its folder, also where that of its checkpoints is given."""
    return url.removesuffix("/checkpoints")


def check(url: str, config: dict[str, Any]) -> None:
    """Raises HeadraceError if a run of this config cannot go on from the checkpoint."""
    state = checkpoint.read_state(url)
    was, now = state["config"]["model"], config["model"]
    if was != now:
        raise HeadraceError(
            f"{url}: a fork keeps the model: {'; '.join(differences(was, now))}; "
            "take the parent's, or train from the beginning"
        )
    if config["steps"] <= state["step"]:
        raise HeadraceError(
            f"{url}: has {state['step']} steps behind it, and `steps` is {config['steps']}; "
            "`steps` counts the parent's too"
        )


def record(
    where: str, url: str, config: dict[str, Any], identity: dict[str, Any]
) -> dict[str, Any]:
    """What a fork of `url`, which `where` named, remembers of it in config.json and checkpoints."""
    named, state = _absolute(where), checkpoint.read_state(url)
    changed = differences(state["config"], config)
    changed += differences(state["stream"]["identity"], identity)
    return {
        "run": _run_of(url) if url == named else _named(named),
        "step": state["step"],
        "digest": state["delivered"]["digest"],
        "differences": changed,
    }


def load(url: str, model: nn.Module, optimiser: Optimizer) -> None:
    """The parent's weights and moments. Betas, decay and rates stay those of the fork's config."""
    ours = [{k: v for k, v in g.items() if k != "params"} for g in optimiser.param_groups]
    checkpoint.load(url, model, optimiser)
    for group, settings in zip(optimiser.param_groups, ours, strict=True):
        group.update(settings)
