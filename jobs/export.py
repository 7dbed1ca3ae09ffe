"""`headrace export` and `headrace import`: weights out of a run, and from elsewhere."""

import json
from pathlib import Path
from typing import Any

from pipeline.format.errors import HeadraceError
from trainer import checkpoint, metrics
from trainer.export.fitting import outputs_of
from trainer.export.read import find
from trainer.export.record import Dtype, Record, installed, training_of
from trainer.export.sharded import read_sharded
from trainer.export.write import write
from trainer.fork import parent_of
from trainer.model.sizes import ModelConfig

CONFIG = "config.json"


def run(where: str, out: str, dtype: Dtype = "float32") -> Record:
    """Exports the newest checkpoint of a run, or the one that `where` names, to the folder `out`.

    `where` is as for a fork: a run, the folder of its checkpoints, or one of them. What the run's
    own folder tells (mixture, validation losses) is taken from there: it is `where`, or the folder
    that holds `checkpoints/<step>`. Raises HeadraceError if there is no complete
    checkpoint of an AIM, or if `out` holds other weights.
    """
    url, folder = _checkpoint(where)
    state, config = checkpoint.read_state(url), _config(folder)
    if "objective" not in state["config"]:
        raise HeadraceError(f"{url}: not an AIM's; `headrace filter export` takes a filter's")
    tensors = read_sharded(url)
    model = ModelConfig.model_validate(state["config"]["model"])
    record = Record(
        headrace=installed(),
        model=model,
        outputs=outputs_of(tensors, model),
        order=state["config"]["objective"]["order"],
        mask_token="preprocessor.mask_token" in tensors,
        dtype=dtype,
        training=training_of(state, config, metrics.read(folder / "metrics.jsonl")),
    )
    return write(tensors, out, record)


def import_(
    weights: str, out: str, model: ModelConfig | None = None, dtype: Dtype = "float32"
) -> Record:
    """Writes weights of ml-aim, ml-l3m or an export of ours as an export to the folder `out`.

    `model` is needed for sizes that have no name. Weights without a pixel head give an export
    without one. Raises HeadraceError if they are no AIM's, or if `out` holds other weights.
    """
    found = find(weights, model)
    return write(found.tensors, out, found.record.model_copy(update={"dtype": dtype}))


def _checkpoint(where: str) -> tuple[str, Path]:
    """The URL of a checkpoint, and the folder of its run if that is on a disk here."""
    url = parent_of(where)
    folders = (Path(where).absolute(), Path(url).parent.parent)
    return url, next((path for path in folders if (path / CONFIG).exists()), folders[1])


def _config(folder: Path) -> dict[str, Any]:
    """The run's config; empty if only the checkpoint is at hand."""
    path = folder / CONFIG
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found
