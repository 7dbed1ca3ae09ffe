"""Checkpoints of a run, which any number of ranks can load.

    <run>/checkpoints/00000240/        one folder a step
        __0_0.distcp … .metadata       model and optimiser, sharded (torch's DCP)
        COMPLETE                       written last: step, config, parent, stream, delivered

A folder without COMPLETE was cut short by a kill: it is never loaded and never counted.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load as load_sharded
from torch.distributed.checkpoint.state_dict_saver import save as save_sharded

from pipeline.format import writing
from pipeline.format.errors import HeadraceError
from trainer import distributed

MARKER = "COMPLETE"


def save(
    folder: Path,
    step: int,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    state: dict[str, Any],
) -> None:
    """Saves on all ranks, then commits on the first. Raises HeadraceError on a full disk."""
    path = folder / f"{step:08d}"
    if (path / MARKER).exists():
        return
    if torch.distributed.get_rank() == 0:
        shutil.rmtree(path, ignore_errors=True)
    distributed.barrier()
    weights, moments = get_state_dict(model, optimiser)
    _write({"model": weights, "optimiser": moments}, path)
    distributed.barrier()
    if torch.distributed.get_rank() == 0:
        writing.publish(str(path / MARKER), json.dumps({"step": step, **state}).encode())
    distributed.barrier()


def _write(parts: dict[str, Any], path: Path) -> None:
    """Of a full disk torch tells on all ranks, in words of its own if a large tensor met it."""
    try:
        save_sharded(parts, checkpoint_id=path)
    except CheckpointException as error:
        rank, (failure, _) = next(iter(error.failures.items()))
        if not isinstance(failure, OSError | RuntimeError):
            raise
        reason = str(failure).partition("\n")[0]
        raise HeadraceError(
            f"{path}: not written: rank {rank}: {reason}; make room on the disk, and run the same "
            "command again"
        ) from error


def read_state(path: Path) -> dict[str, Any]:
    """What `save` was given beside model and optimiser, and the step."""
    state: dict[str, Any] = json.loads((path / MARKER).read_text())
    return state


def load(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Fills model and optimiser, of the shapes that were saved, from a complete checkpoint."""
    weights, moments = get_state_dict(model, optimiser)
    load_sharded({"model": weights, "optimiser": moments}, checkpoint_id=path)
    set_state_dict(model, optimiser, model_state_dict=weights, optim_state_dict=moments)


def newest(folder: Path) -> Path | None:
    """The complete checkpoint of the highest step, if there is one."""
    complete = sorted(path.parent for path in folder.glob(f"*/{MARKER}"))
    return complete[-1] if complete else None


def keep_newest(folder: Path, count: int) -> None:
    """Deletes complete checkpoints but the newest `count`; incomplete ones are not touched."""
    complete = sorted(path.parent for path in folder.glob(f"*/{MARKER}"))
    for path in complete[:-count]:
        (path / MARKER).unlink()  # first, so that a kill in between leaves no half checkpoint
        shutil.rmtree(path)
