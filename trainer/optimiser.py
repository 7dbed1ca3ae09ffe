"""AdamW and its schedule, as the paper trains every size (AIM §5.1 and training code)."""

import math
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

NO_DECAY = ("bias", "pos_embed", "norm", "gamma")
"""Parameters with one of these in their name do not decay (apple/ml-l3m, configs/aimv1)."""

FUSED_DEVICES = ("cpu", "cuda")
"""Where AdamW is one kernel; on the CPU its bits do not depend on threads or sharding (tested)."""


class OptimiserConfig(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """AdamW with linear warm-up and cosine decay; the defaults are the paper's.

    Raises `pydantic.ValidationError`, which names the field.
    """

    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate, the same for every size (AIM table 1)."""

    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the two moments."""

    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the second moment."""

    weight_decay: float = Field(default=0.05, ge=0)
    """Decoupled decay of all weights but norms and biases."""

    warmup_fraction: float = Field(default=0.025, ge=0, lt=1)
    """Part of all steps that the rate rises for."""

    warmup_lr: float = Field(default=1e-6, ge=0)
    """Learning rate of step 0."""

    final_lr: float = Field(default=0.0, ge=0, exclude_if=lambda rate: rate == 0)
    """Learning rate that the decay ends at. Told only where there is one: runs of before go on."""

    clip: float | None = Field(default=1.0, gt=0)
    """Largest global L2 norm of the gradient; null: any."""


def learning_rate(
    step: int, total: int, config: OptimiserConfig, peak: float | None = None
) -> float:
    """The rate of step `step` of `total`, counted from 0; `peak` stands in for `config.lr`.

    Linear from `warmup_lr` to the peak over the first `warmup_fraction`, then half a cosine
    down to `final_lr`, which step `total`, the first after the end, would have. Raises
    ValueError if there is no such step.
    """
    peak = config.lr if peak is None else peak
    if total < 1 or not 0 <= step <= total:
        raise ValueError(f"no step {step} in a run of {total}")
    done, warmup = step / total, config.warmup_fraction
    if done < warmup:
        return config.warmup_lr + (peak - config.warmup_lr) * done / warmup
    height = peak - config.final_lr
    return config.final_lr + height * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


Decays = Callable[[str, nn.Parameter], bool]


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether the weight decay holds for a parameter of an AIM (see `NO_DECAY`)."""
    return not any(part in name for part in NO_DECAY)


def parameter_groups(
    model: nn.Module, config: OptimiserConfig, decays: Decays = decays
) -> list[dict[str, Any]]:
    """Two groups for AdamW: the trained parameters that decay, and the rest."""
    decay: list[nn.Parameter] = []
    keep: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (decay if decays(name, parameter) else keep).append(parameter)
    return [
        {"params": decay, "weight_decay": config.weight_decay},
        {"params": keep, "weight_decay": 0.0},
    ]


def build_optimiser(groups: list[dict[str, Any]], config: OptimiserConfig) -> AdamW:
    """AdamW over groups of parameters, which lie where they are trained.

    Its rate is the peak until a step sets each group's `lr`.
    """
    devices = {parameter.device.type for group in groups for parameter in group["params"]}
    return AdamW(
        groups,
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        fused=all(device in FUSED_DEVICES for device in devices),
    )


def clip(model: nn.Module, config: OptimiserConfig) -> Tensor:
    """Scales the gradient of a model, sharded or not, down to `config.clip`.

    Returns its L2 norm before, of all shards. A collective call where there are some.
    """
    largest = math.inf if config.clip is None else config.clip
    norm = clip_grad_norm_(model.parameters(), largest)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
