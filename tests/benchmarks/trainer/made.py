"""A run without files: the trainer's own step, over images that lie on the device already."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from trainer import compute
from trainer.aim import AimLearner
from trainer.compute import AimComputeConfig
from trainer.config import TrainConfig
from trainer.distributed import World
from trainer.model.aim import AIM
from trainer.model.sizes import ModelConfig
from trainer.objective.objective import Objective
from trainer.optimiser import build_optimiser
from trainer.run import Run
from trainer.step import Made, update
from trainer.stream.batch import Batch
from trainer.stream.config import StreamConfig

STEPS = 10**6
"""Of the schedule, whose warm-up no benchmark leaves."""

SLOTS = 8
"""Images of a lane, if they divide the batch."""

TINY = ModelConfig(
    image_size=32,
    patch_size=8,
    embed_dim=64,
    depth=2,
    num_heads=2,
    head_width=64,
    head_depth=2,
)
"""What a dry run trains instead of the sizes that it names."""


def config_of(
    shape: ModelConfig, images: int, chosen: AimComputeConfig | None = None, threads: int = 2
) -> TrainConfig:
    """The paper's objective, with paired prefixes, in one micro-batch of so many images."""
    lanes = images // math.gcd(images, SLOTS)
    fields = {"batch": images, "lanes": lanes, "image_size": shape.image_size, "threads": threads}
    return TrainConfig(
        run="made",
        mixture="made.json",
        model=shape,
        stream=StreamConfig(**fields),
        compute=chosen or AimComputeConfig(),
        steps=STEPS,
    )


def aim(config: TrainConfig, device: torch.device) -> AIM:
    """Set up and filled as the trainer does it, the weights drawn on the device: that is sooner."""
    with torch.device("meta"):
        model = AIM(config.shape)
    compute.prepare(model, config.compute, config.objective.attention, device)
    model.materialise(device)
    model.init_weights(torch.Generator(device).manual_seed(0))
    return model


def run_of(config: TrainConfig, model: nn.Module, device: torch.device) -> Run:
    """The parts that a step needs. The stream is a name: nothing is read."""
    world, objective = World(0, 1, device), Objective(config.objective, config.shape, config.seed)
    learner = AimLearner(config, world, ["made"], model, objective)
    nowhere = dict.fromkeys(("stream", "snapshots", "account", "skipping", "saver"))
    optimiser = build_optimiser(learner.groups(), config.optimiser)
    return Run(config, world, learner, optimiser, folder=Path(), **nowhere)


def batch_of(config: TrainConfig, device: torch.device) -> Batch:
    """Random pixels, as the stream gives them: products of zeros would be quicker on a GPU."""
    images, size = config.stream.batch, config.stream.image_size
    generator = torch.Generator(device).manual_seed(0)
    shape, kind = (images, 3, size, size), {"dtype": torch.uint8, "device": device}
    pixels = torch.randint(256, shape, generator=generator, **kind)
    pixels = pixels.to(memory_format=torch.channels_last)
    slots, one = torch.arange(images), torch.zeros(images, dtype=torch.int64)
    depth = images // config.stream.lanes
    names = [""] * images
    return Batch(0, pixels, slots // depth, slots % depth, one, one, slots, names, names, [])


def batches(config: TrainConfig, device: torch.device) -> Iterator[Batch]:
    """The same images at every step, each time with other prefixes."""
    batch = batch_of(config, device)
    return (replace(batch, step=step) for step in itertools.count())


class Step:
    """One update of the trainer, over made images, each time that it is called."""

    def __init__(self, config: TrainConfig, model: nn.Module, device: torch.device):
        self.run, self.made = run_of(config, model, device), batches(config, device)

    def __call__(self) -> Made:
        return update(self.run, next(self.made))
