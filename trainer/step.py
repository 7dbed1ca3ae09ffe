"""One update: gradients of all micro-batches, the clip, the optimiser. No device is waited on."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_

from trainer import compute, distributed
from trainer.optimiser import learning_rate
from trainer.pixels import normalise
from trainer.run import Run
from trainer.stream.batch import Batch
from trainer.stream.jitter import jittered
from trainer.stream.plan import Array


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
    """(n,) predictions of each image whose loss is not finite."""


def update(run: Run, batch: Batch) -> Made:
    """Makes one step of the optimiser. The order of additions depends on the batch alone."""
    loss, flaws = _backward(run, batch)
    norm = clip_grad_norm_(run.model.parameters(), run.config.optimiser.clip)
    norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
    skipped = (~torch.isfinite(norm)).float()
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate(run.step, run.config.steps, run.config.optimiser)
    # As a GradScaler tells the fused kernel, which then writes nothing, step count included.
    run.optimiser.found_inf = skipped  # type: ignore[attr-defined]
    run.optimiser.step()
    run.optimiser.zero_grad()
    run.step += 1
    return Made(loss, norm, skipped, flaws)


def _backward(run: Run, batch: Batch) -> tuple[Tensor, Tensor]:
    """This rank's share of the loss, and the flaws of its images."""
    config, device = run.config, run.world.device
    colours = config.stream.augment.jitter
    images = normalise(jittered(batch, run.stream.names, config.stream.seed, colours), device)
    depth, count = config.stream.batch // config.stream.lanes, counted(run, batch.step)
    loss, flaws = torch.zeros((), device=device), []
    parts = micro_batches(depth, config.compute.micro_batches)
    for part in parts:
        distributed.add_up_copies(run.model, part == parts[-1])
        some, lanes, slots = (_of(x, depth, part) for x in (images, batch.lanes, batch.slots))
        task = run.objective.task(batch.step, lanes.numpy(), slots.numpy()).to(device)
        with compute.autocast(config.compute, device):
            predictions = run.model(some, task.prefix, task.rows, task.masked)
        losses = run.objective.losses(predictions, some, task)
        share = losses.sum() / count
        # FSDP averages gradients over ranks; the loss is a mean over all that all ranks predict.
        # Where it is not finite, 0 times it is NaN, and so is then the gradient on all ranks.
        share.backward(run.world.size + 0 * share.detach())
        loss += share.detach()
        flaws.append(_flaws(losses.detach(), task.rows // config.shape.num_patches, len(some)))
    return loss, torch.cat([f.unflatten(0, (-1, depth // len(parts))) for f in flaws], 1).flatten()


def _of(values: Tensor, depth: int, part: slice) -> Tensor:
    """Some slots of every lane; a view of (n, ...) where it can be."""
    return values.unflatten(0, (-1, depth))[:, part].flatten(0, 1)


def _flaws(losses: Tensor, image: Tensor, images: int) -> Tensor:
    """How many of each image's losses are not finite: (images,)."""
    found = (~torch.isfinite(losses)).float()
    return torch.zeros(images, device=losses.device).index_add_(0, image, found)


def micro_batches(depth: int, count: int) -> list[slice]:
    """The slots of each part, alike in every lane, so that all ranks have as many parts.

    Raises ValueError if the parts do not share the `depth` slots of a lane evenly.
    """
    if depth % count:
        raise ValueError(f"{count} micro-batches do not share {depth} slots of a lane")
    size = depth // count
    return [slice(n * size, (n + 1) * size) for n in range(count)]


def counted(run: Run, step: int) -> int:
    """The predictions of a step that count, over all ranks: arithmetic, so no rank asks another."""
    lanes, depth = run.config.stream.lanes, run.config.stream.batch // run.config.stream.lanes
    lane: Array = np.repeat(np.arange(lanes), depth)
    slot: Array = np.tile(np.arange(depth), lanes)
    return run.objective.scored(step, lane, slot)
