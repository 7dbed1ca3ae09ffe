"""How a run computes: precision, compiled blocks, recomputed activations, micro-batches, kernels.

Nothing here changes what is learnt, but for the precision, and for the last bits.
"""

import contextlib
from typing import Literal

import torch
from pydantic import BaseModel, Field
from torch import nn

from pipeline.format.errors import HeadraceError
from trainer.model.aim import AIM


class ComputeConfig(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """The defaults are right for a model that fits; every field but `precision` may be changed by
    a resume.
    """

    precision: Literal["bfloat16", "float32"] | None = None
    """Of the products; bfloat16 on a GPU and float32 on a CPU without it. Weights, gradients' sums
    and norms are float32 either way, and an AIM's residual stream (AIM training code); that of
    open_clip's image towers is bfloat16 then, as in open_clip's own training."""

    micro_batches: int = Field(default=1, gt=0)
    """Parts that each step's images are taken in, one after the other, to save memory; divides the
    images of a lane."""

    recompute: bool = False
    """Keep only what goes into a block, and run the block again in the backward pass: a third more
    work for a fraction of the memory."""

    compile: bool | None = None
    """Whether blocks are compiled; on a GPU only without it. The first step takes longer."""

    shard_over: int | None = Field(default=None, gt=0)
    """Ranks that hold one copy of the weights among them; a machine's ranks without it. Divides the
    number of ranks. Copies are kept equal by adding up gradients (hybrid sharding)."""


class AimComputeConfig(ComputeConfig, frozen=True):
    """The same of an AIM."""

    attention: Literal["auto", "mask", "causal_overwrite", "flex"] = "auto"
    """How prefix attention is computed; `auto` is what was measured to be fastest on the device."""


def dtype_of(config: ComputeConfig, device: torch.device) -> torch.dtype:
    """What products are computed in."""
    if config.precision is None:
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32


def name_of(config: ComputeConfig, device: torch.device) -> str:
    """The same as the config names it."""
    return str(dtype_of(config, device)).removeprefix("torch.")


def autocast(
    config: ComputeConfig, device: torch.device
) -> contextlib.AbstractContextManager[None]:
    """The context to run the model in."""
    dtype = dtype_of(config, device)
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def compiles(config: ComputeConfig, device: torch.device) -> bool:
    """Whether blocks are compiled."""
    return device.type == "cuda" if config.compile is None else config.compile


def compile_block(block: nn.Module) -> None:
    """In one graph: what would break it is an error, not slow. The names of its weights stay.

    For the sizes that come, which are few: made general because others came first, a block of a
    run that was resumed would not be that of one that was not.
    """
    block.compile(fullgraph=True, dynamic=False)


def prepare(model: AIM, config: AimComputeConfig, attention: str, device: torch.device) -> None:
    """Sets an AIM up as configured, before it is sharded.

    `attention` is the objective's: where no prefix varies, no mask is needed in training. Raises
    HeadraceError if the device has no such kernel.
    """
    if config.attention == "flex" and device.type != "cuda":
        raise HeadraceError(
            f'compute.attention: "flex" cannot train on a {device.type}, where torch has no '
            'backward of it; use "auto"'
        )
    unmasked = {"causal": "causal", "bidirectional": "full"}.get(attention, "auto")
    model.kernel = unmasked if config.attention == "auto" else config.attention
    for block in model.blocks():
        setattr(block, "recompute", config.recompute)  # noqa: B010
        if compiles(config, device):
            compile_block(block)
