"""One update: gradients of all micro-batches, the clip, the optimiser. No device is waited on."""

from typing import NamedTuple

import torch
from torch import Tensor

from trainer.run import Run
from trainer.stream.batch import Batch


class Made(NamedTuple):
    """What a step gave, still on the device."""

    loss: Tensor
    """This rank's share of the loss: the shares of all ranks add up to it."""
    norm: Tensor
    """L2 norm of the whole gradient before the clip, over all ranks."""
    skipped: Tensor
    """1 if the norm is not finite (it is not where a loss is not) and the weights were left alone,
    else 0; on all ranks alike."""
    flaws: Tensor
    """(n,) how much of each image is not finite."""


def update(run: Run, batch: Batch) -> Made:
    """Makes one step of the optimiser. The order of additions depends on the batch alone."""
    learner = run.learner
    loss, flaws = learner.backward(batch)
    norm = learner.clipped()
    skipped = (~torch.isfinite(norm)).float()
    for group, rate in zip(run.optimiser.param_groups, learner.rates(run.step), strict=True):
        group["lr"] = rate
    # As a GradScaler tells the fused kernel, which then writes nothing, step count included.
    run.optimiser.found_inf = skipped  # type: ignore[attr-defined]
    run.optimiser.step()
    run.optimiser.zero_grad()
    learner.updated()
    run.step += 1
    return Made(loss, norm, skipped, flaws)
