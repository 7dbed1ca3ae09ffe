"""What a row is and what its training costs, before anything is run. Reads no file."""

from typing import NamedTuple

import torch

from jobs.sweep.config import DiscreteConfig
from trainer.config import TrainConfig
from trainer.flops import image_flops
from trainer.model.aim import AIM


class Cost(NamedTuple):
    """Of one training."""

    shape: str
    """Trunk and head, as a person writes them."""
    parameters: int
    """Of the whole model, its head included."""
    steps: int
    images: int
    flops: float
    """Forward and backward of all steps, without validations; see trainer/flops.py."""


def cost(config: TrainConfig, discrete: DiscreteConfig) -> Cost:
    """Of a row's training; `discrete` says how many values a k-means row predicts."""
    shape, outputs = config.shape, _outputs(config, discrete)
    masked = config.objective.kind == "masked"
    with torch.device("meta"):
        model = AIM(shape, outputs, config.objective.order, mask_token=masked)
    images = config.steps * config.stream.batch
    each = image_flops(shape, outputs, "mask", _predictions(config)).training
    trunk = f"{shape.embed_dim} x {shape.depth}, {shape.num_heads} heads"
    head = f"{shape.head_kind} {shape.head_width} x {shape.head_depth}"
    return Cost(
        shape=f"{trunk}; head {'none' if shape.head_kind == 'none' else head}",
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        steps=config.steps,
        images=images,
        flops=images * each,
    )


def _outputs(config: TrainConfig, discrete: DiscreteConfig) -> int | None:
    target = config.objective.target
    return discrete.centroids if target.kind == "kmeans" else target.vocabulary


def _predictions(config: TrainConfig) -> float:
    """Of an image, in the mean: a prefix is uniform on 1 to K - 1."""
    K, objective = config.shape.num_patches, config.objective
    if objective.kind == "masked":
        return round((objective.mask_ratio or 0) * K)
    return K - 1 if objective.attention == "causal" else K / 2
