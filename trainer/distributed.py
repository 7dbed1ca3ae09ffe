"""Ranks: joining them, sharding a model over them, adding up over them.

One process is a world of one: the same loop runs with and without torchrun.
"""

import contextlib
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from pipeline.format.errors import HeadraceError

Value = TypeVar("Value")


@dataclass(frozen=True)
class World:
    """This process among all."""

    rank: int
    size: int
    device: torch.device
    local_size: int = 1
    """Ranks on this machine."""

    @property
    def leads(self) -> bool:
        """Whether this rank writes what is written once."""
        return self.rank == 0


@contextlib.contextmanager
def join() -> Iterator[World]:
    """The world that torchrun or Ray describes in the environment, or this process alone.

    A process group that is there already (Ray makes one) is used, and left as it is.
    """
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    world = World(rank, size, device, local_size)
    if dist.is_initialized():
        yield world
        return
    store = None if "RANK" in os.environ else dist.HashStore()  # type: ignore[attr-defined]
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, rank=rank, world_size=size, store=store)
    try:
        yield world
    finally:
        dist.destroy_process_group()


def mesh_of(world: World, shard_over: int | None) -> DeviceMesh:
    """The ranks as (copies, ranks of a copy); as one row if there is one copy.

    Without `shard_over` a collective call: machines may hold unlike numbers of ranks, and all ranks
    must make one mesh. Raises HeadraceError if copies of that many ranks do not fill the world.
    """
    ranks = shard_over or math.gcd(*gather(world.local_size))
    if world.size % ranks:
        raise HeadraceError(
            f"compute.shard_over: {ranks} ranks to a copy of the weights do not divide "
            f"{world.size} ranks; use a divisor of them"
        )
    device, copies = world.device.type, world.size // ranks
    if copies == 1:
        return init_device_mesh(device, (ranks,))
    return init_device_mesh(device, (copies, ranks), mesh_dim_names=("copies", "shards"))


def shard(
    model: nn.Module, blocks: Iterable[nn.Module], world: World, shard_over: int | None = None
) -> None:
    """Splits parameters, gradients and optimiser state over the ranks (FSDP2), block by block.

    Weights are gathered in float32, and products rounded by autocast alone, as on one rank: FSDP's
    own bfloat16 would be half of the traffic, and would round the weights of the norms too.
    """
    if world.size == 1:
        return
    mesh = mesh_of(world, shard_over)
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def add_up_copies(model: nn.Module, now: bool) -> None:
    """Whether the next backward pass adds up gradients over the copies of the weights.

    Between micro-batches it need not: a sum over a machine's ranks is enough to save the memory.
    """
    if isinstance(model, FSDPModule):
        model.set_requires_all_reduce(now)


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
