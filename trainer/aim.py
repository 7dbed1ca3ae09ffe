"""AIM as what a run learns: its model, its objective, its validation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer import compute, distributed, flops, optimiser
from trainer.config import TrainConfig
from trainer.distributed import World
from trainer.model.aim import AIM
from trainer.model.attending.choose import prepare
from trainer.objective.objective import Objective
from trainer.parts import micro_batches, part_of, together
from trainer.pixels import normalise
from trainer.stream.batch import Batch
from trainer.stream.jitter import jittered
from trainer.stream.plan import Array
from trainer.validation import Validation


class AimLearner:
    """The `Learner` of a training of AIM."""

    def __init__(
        self,
        config: TrainConfig,
        world: World,
        names: list[str],
        model: AIM,
        objective: Objective,
        validation: Validation | None = None,
    ) -> None:
        """`names` are the stream's sources; `learner` makes the rest."""
        self.config, self.world, self.names = config, world, names
        self.model, self.objective, self.validation = model, objective, validation

    @property
    def probe(self) -> nn.Module:
        """The patch embedding."""
        return self.model.preprocessor.patchifier

    @property
    @torch.no_grad()
    def flops(self) -> float:
        """Of an image; with independent prefixes the scored rows of one step stand for all."""
        shape = self.config.shape
        one = torch.ones(1, dtype=torch.int64, device=self.world.device)
        kernel = prepare(self.model.kernel, one, shape.num_patches).kernel
        rows = self.counted(0) / self.config.stream.batch
        return flops.image_flops(shape, self.objective.outputs, kernel, rows).training

    @property
    def identity(self) -> dict[str, Any]:
        """The precision that was chosen, and what the targets are made with."""
        precision = compute.name_of(self.config.compute, self.world.device)
        return {
            "compute": {"precision": precision},
            "target_sha256": self.objective.target.digest,
        }

    @property
    def snapshots(self) -> tuple[str, ...]:
        """The validation set."""
        return (self.validation.source.shards.label,) if self.validation else ()

    def groups(self) -> list[dict[str, Any]]:
        """All but norms and biases decay."""
        return optimiser.parameter_groups(self.model, self.config.optimiser)

    def rates(self, step: int) -> list[float]:
        """One for both groups."""
        rate = optimiser.learning_rate(step, self.config.steps, self.config.optimiser)
        return [rate, rate]

    def clipped(self) -> Tensor:
        """Of the whole model's gradient."""
        return optimiser.clip(self.model, self.config.optimiser)

    def backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Of the mean over all predictions; flaws count an image's that are not finite."""
        config, device = self.config, self.world.device
        colours = config.stream.augment.jitter
        images = normalise(jittered(batch, self.names, config.stream.seed, colours), device)
        depth, count = config.stream.batch // config.stream.lanes, self.counted(batch.step)
        loss, flaws = torch.zeros((), device=device), []
        parts = micro_batches(depth, config.compute.micro_batches)
        for part in parts:
            distributed.add_up_copies(self.model, part == parts[-1])
            cut = (part_of(x, depth, part) for x in (images, batch.lanes, batch.slots))
            some, lanes, slots = cut
            task = self.objective.task(batch.step, lanes.numpy(), slots.numpy()).to(device)
            with compute.autocast(config.compute, device):
                predictions = self.model(some, task.prefix, task.rows, task.masked)
            losses = self.objective.losses(predictions, some, task)
            share = losses.sum() / count
            # FSDP averages gradients over ranks; the loss is a mean over what all ranks predict.
            # Where it is not finite, 0 times it is NaN, and so is then the gradient on all ranks.
            share.backward(self.world.size + 0 * share.detach())
            loss += share.detach()
            flaws.append(_flaws(losses.detach(), task.rows // config.shape.num_patches, len(some)))
        return loss, together(flaws, depth)

    def updated(self) -> None:
        """Nothing is bounded."""

    def validate(self, step: int, poll: Callable[[], None]) -> dict[str, Any] | None:
        """The losses of fixed questions, and a picture of some answers in the run's folder."""
        if self.validation is None:
            return None
        with compute.autocast(self.config.compute, self.world.device):
            losses = self.validation.losses(self.model, poll)
            picture = Path(self.config.run) / "pictures" / f"{step:08d}.png"
            self.validation.save_picture(self.model, picture)
        return {"validation": losses.means} | ({"curve": losses.curve} if losses.curve else {})

    def counted(self, step: int) -> int:
        """The predictions of a step that count, on all ranks: arithmetic, so none asks another."""
        lanes, batch = self.config.stream.lanes, self.config.stream.batch
        lane: Array = np.repeat(np.arange(lanes), batch // lanes)
        slot: Array = np.tile(np.arange(batch // lanes), lanes)
        return self.objective.scored(step, lane, slot)


def learner(config: TrainConfig, world: World, names: list[str]) -> AimLearner:
    """On this rank of `world`, fed by these sources. Raises HeadraceError as its parts do."""
    objective = Objective(config.objective, config.shape, config.seed)
    model = _model(config, objective, world)
    validation = Validation.open(config, world, objective) if config.validation else None
    return AimLearner(config, world, names, model, objective, validation)


def _model(config: TrainConfig, objective: Objective, world: World) -> AIM:
    """Without memory, then compiled and sharded, then given some, then filled."""
    masked = config.objective.kind == "masked"
    with torch.device("meta"):
        model = AIM(config.shape, objective.outputs, config.objective.order, mask_token=masked)
    compute.prepare(model, config.compute, config.objective.attention, world.device)
    distributed.shard(model, model.blocks(), world, config.compute.shard_over)
    model.materialise(world.device)
    model.init_weights(torch.Generator().manual_seed(config.seed))
    return model


def _flaws(losses: Tensor, image: Tensor, images: int) -> Tensor:
    """How many of each image's losses are not finite: (images,)."""
    found = (~torch.isfinite(losses)).float()
    return torch.zeros(images, device=losses.device).index_add_(0, image, found)
