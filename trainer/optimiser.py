"""AdamW and its schedule, as the paper trains every size (AIM §5.1 and training code)."""

import math
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, Field
from torch import nn
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

    clip: float | None = Field(default=1.0, gt=0)
    """Largest global L2 norm of the gradient; null: any."""


def learning_rate(step: int, total: int, config: OptimiserConfig) -> float:
    """The rate of step `step` of `total`, counted from 0.

    Linear from `warmup_lr` to `lr` over the first `warmup_fraction`, then half a cosine
    down to 0, which step `total`, the first after the end, would have. Raises
    ValueError if there is no such step.
    """
    if total < 1 or not 0 <= step <= total:
        raise ValueError(f"no step {step} in a run of {total}")
    done, warmup = step / total, config.warmup_fraction
    if done < warmup:
        return config.warmup_lr + (config.lr - config.warmup_lr) * done / warmup
    return config.lr * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


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


def build_optimiser(model: nn.Module, config: OptimiserConfig, decays: Decays = decays) -> AdamW:
    """AdamW over all of `model`, built after it was moved or sharded.

    Its rate is the peak until the training loop sets each group's `lr` from `learning_rate`.
    """
    devices = {parameter.device.type for parameter in model.parameters()}
    return AdamW(
        parameter_groups(model, config, decays),
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        fused=all(device in FUSED_DEVICES for device in devices),
    )
