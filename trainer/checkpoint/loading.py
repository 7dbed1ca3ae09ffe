"""Loading, on any number of ranks."""

import warnings

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load as load_sharded

from pipeline.format import address
from pipeline.format.errors import HeadraceError
from trainer.checkpoint import finding, storage

FIX = "it must be of this model, with all its files; or delete it, and the one before is taken"


def load(url: str, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Fills model and optimiser, of the shapes that were saved, from a complete checkpoint.

    Raises HeadraceError, on all ranks, if it is incomplete, damaged or of another model.
    """
    weights, moments = get_state_dict(model, optimiser)
    _read(url, {"model": weights, "optimiser": moments})
    set_state_dict(model, optimiser, model_state_dict=weights, optim_state_dict=moments)


def load_weights(url: str, model: nn.Module) -> None:
    """Fills the model alone; nothing else is read. Works without a process group too.

    Raises as `load` does.
    """
    weights = get_model_state_dict(model)
    _read(url, {"model": weights})
    set_model_state_dict(model, weights)


def _read(url: str, parts: dict[str, dict]) -> None:
    if not finding.is_complete(url):
        raise HeadraceError(f"{address.redact(url)}: no complete checkpoint; name another one")
    # What is damaged, or of another shape, torch tells by errors of every kind.
    with storage.told(url, "not loaded", FIX, (Exception,)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # on purpose
        load_sharded(parts, storage_reader=storage.reader(url))
