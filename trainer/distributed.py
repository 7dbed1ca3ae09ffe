"""Ranks: joining them, sharding a model over them, adding up over them.

One process is a world of one: the same loop runs with and without torchrun.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from trainer.model.aim import AIM

Value = TypeVar("Value")


@dataclass(frozen=True)
class World:
    """This process among all."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this rank writes what is written once."""
        return self.rank == 0


@contextlib.contextmanager
def join() -> Iterator[World]:
    """The world that torchrun describes in the environment, or this process alone."""
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    store = None if "RANK" in os.environ else dist.HashStore()  # type: ignore[attr-defined]
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, rank=rank, world_size=size, store=store)
    try:
        yield World(rank, size, device)
    finally:
        dist.destroy_process_group()


def shard(model: AIM, world: World) -> None:
    """Splits parameters, gradients and optimiser state over the ranks (FSDP2), block by block."""
    if world.size == 1:
        return
    mesh = init_device_mesh(world.device.type, (world.size,))
    for block in model.blocks():
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def total(value: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all ranks, on all ranks."""
    summed = value.detach().clone()
    dist.all_reduce(summed)
    return summed


def gather(value: Value) -> list[Value]:
    """One small object from each rank, in the order of ranks, on all ranks."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def barrier() -> None:
    """Waits for all ranks."""
    dist.barrier()
