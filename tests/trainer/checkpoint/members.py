"""What each rank of a test does, in a process of its own: `python -c "…members… save(…)"`."""

import sys
from contextlib import closing, nullcontext
from functools import partial

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard

from pipeline.format.errors import HeadraceError
from tests.trainer.checkpoint.small import STATE, trained, values
from tests.trainer.conftest import no_file_over
from trainer import checkpoint, distributed

SIZES = {"width": 129, "depth": 3}
"""Which ranks do not share evenly, and whose numbers outweigh the heads of their files."""


def sharded(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    for layer in model:
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def mesh(*shape: int) -> DeviceMesh:
    """One row of ranks, or (copies, ranks of a copy)."""
    names = ("copies", "shards")[-len(shape) :]
    return init_device_mesh("cpu", shape, mesh_dim_names=names)


def save(where: str, told: str, *shape: int) -> None:
    """Saves a model after two steps; its values go to the file `told`."""
    with distributed.join() as world, closing(checkpoint.Saver(where, 1)) as saver:
        model, optimiser = trained(2, shard=partial(sharded, mesh=mesh(*shape)), **SIZES)
        saver.save(2, model, optimiser, STATE)
        found = values(model, optimiser)
        saver.wait()
        if world.leads:
            torch.save(found, told)


def load(where: str, told: str, *shape: int) -> None:
    """Loads the newest checkpoint into another model; its values go to the file `told`."""
    with distributed.join() as world:
        model, optimiser = trained(1, 1, partial(sharded, mesh=mesh(*shape)), **SIZES)
        checkpoint.load(checkpoint.newest(where), model, optimiser)
        found = values(model, optimiser)
        if world.leads:
            torch.save(found, told)


def fail(folder: str, limit: int) -> None:
    """Prints the error of a second save, whose last rank may write no more than `limit` bytes.

    A `{rank}` in the folder gives each rank one of its own.
    """
    with distributed.join() as world, closing(_saver(folder, world.rank)) as saver:
        narrow = limit and world.rank == world.size - 1
        parts = trained(1, shard=partial(sharded, mesh=mesh(world.size)))
        try:
            saver.save(1, *parts, STATE)
            saver.wait()
            with no_file_over(limit) if narrow else nullcontext():
                saver.save(2, *parts, STATE)
                saver.wait()
        except HeadraceError as error:
            print(error, checkpoint.newest(saver.where), file=sys.stderr)


def _saver(folder: str, rank: int) -> checkpoint.Saver:
    return checkpoint.Saver(folder.format(rank=rank), keep=1)
