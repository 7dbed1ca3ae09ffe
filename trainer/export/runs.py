"""A run's checkpoint as weights to be exported or evaluated: its tensors, and what they are."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from pipeline.format.errors import HeadraceError
from trainer import checkpoint, metrics
from trainer.export.fitting import outputs_of
from trainer.export.record import Dtype, Record, installed, training_of
from trainer.export.sharded import read_sharded
from trainer.fork import parent_of
from trainer.model.sizes import ModelConfig

CONFIG = "config.json"


class Checkpoint(NamedTuple):
    """Weights of a run."""

    run: str
    """Folder of the run, or the one that holds the folder of its checkpoints."""
    tensors: dict[str, Tensor]
    """All of the model's, by our names."""
    record: Record


def is_run(where: str) -> bool:
    """Whether a run, the folder of its checkpoints, or one of them is named."""
    return folder_of(where) is not None


def folder_of(where: str) -> str | None:
    """The folder of the run that a run, the folder of its checkpoints or one of them belongs to;
    None for anything else."""
    try:
        return _folder(where, parent_of(where))
    except HeadraceError:
        return None


def of_run(where: str, dtype: Dtype = "float32") -> Checkpoint:
    """The newest checkpoint of a run, or the one that `where` names, as for a fork.

    What the run's own folder tells (mixture, validation losses) is taken from there: it is `where`,
    or the folder that holds `checkpoints/<step>`. Raises HeadraceError if there is no complete
    checkpoint of an AIM.
    """
    url = parent_of(where)
    folder = _folder(where, url)
    state, config = checkpoint.read_state(url), _config(folder)
    if "objective" not in state["config"]:
        raise HeadraceError(f"{url}: not an AIM's; `headrace filter export` takes a filter's")
    log = [] if "://" in folder else metrics.read(Path(folder, "metrics.jsonl"))
    tensors = read_sharded(url)
    model = ModelConfig.model_validate(state["config"]["model"])
    record = Record(
        headrace=installed(),
        model=model,
        outputs=outputs_of(tensors, model),
        order=state["config"]["objective"]["order"],
        mask_token="preprocessor.mask_token" in tensors,
        dtype=dtype,
        training=training_of(state, config, log),
    )
    return Checkpoint(folder, tensors, record)


def _folder(where: str, url: str) -> str:
    """Of the run: what is named if it is one on a disk here, else what the checkpoint lies in."""
    named = str(Path(where).absolute())
    above = url.rsplit("/", 2)[0].removeprefix("file://")
    return named if "://" not in where and Path(named, CONFIG).exists() else above


def _config(folder: str) -> dict[str, Any]:
    """The run's config; empty if only the checkpoint is at hand."""
    path = Path(folder, CONFIG)
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found
