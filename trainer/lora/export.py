"""A trunk with its adapters merged into it, as an export that everything here reads."""

from typing import Any

import torch

from pipeline.format.errors import HeadraceError
from trainer import checkpoint, fork
from trainer.export.names import is_backbone
from trainer.export.record import Record, installed
from trainer.export.write import write
from trainer.frozen import Frozen, open_frozen
from trainer.lora import adapters
from trainer.lora.config import LoraConfig
from trainer.lora.learner import Tuned
from trainer.model.sizes import ModelConfig


def export(run: str, weights: str, out: str) -> Record:
    """Writes the trunk of a run's newest checkpoint, or of one that is named, to a folder.

    `weights` is what the run began with. The head is not in it: `Tuned.head` of the checkpoint.
    Raises HeadraceError if the checkpoint is not LoRA's, or if `weights` are others.
    """
    url = fork.parent_of(run)
    config = checkpoint.read_state(url)["config"]
    if "adapt" not in config:
        raise HeadraceError(f"{url}: no checkpoint of LoRA; name the run of one")
    shape = ModelConfig.model_validate(config["weights"]["model"])
    frozen = open_frozen(weights, torch.device("cpu"), shape)
    if frozen.told["sha256"] != config["weights"]["sha256"]:
        raise HeadraceError(f"{weights}: not the weights that {url} began with; name those")
    tuned = _tuned(config, frozen)
    checkpoint.load_weights(url, tuned)
    adapters.merge(frozen.model, tuned.adapters)
    tensors = {n: v for n, v in frozen.model.state_dict().items() if is_backbone(n)}
    record = Record(
        headrace=installed(), model=shape, outputs=shape.patch_dim, order=frozen.told["order"]
    )
    return write(tensors, out, record)


def _tuned(config: dict[str, Any], frozen: Frozen) -> Tuned:
    fields = {name: config[name] for name in ("rank", "alpha", "adapt", "classes", "seed")}
    return Tuned(frozen, tuple(config["layers"]), LoraConfig.model_construct(**fields))
