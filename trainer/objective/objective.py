"""The objective: what is asked of each batch, and what an answer costs.

A pure function of (config, seed, step, lane, slot): how many ranks share a step, and in how many
parts they take it, changes no question. The loss to descend is the sum of `losses` over all parts
of all ranks, divided by `scored` of the whole step: a mean over predictions, not a mean of means.
"""

import numpy as np
from torch import Tensor

from pipeline.format.errors import HeadraceError
from trainer.model.orders import order
from trainer.model.sizes import ModelConfig
from trainer.objective import masks, prefixes
from trainer.objective.config import ObjectiveConfig
from trainer.objective.targets.choose import choose
from trainer.objective.task import Task, predict_masked, predict_next
from trainer.stream.plan import Array


class Objective:
    """What `config` says, for models of one shape.

    Raises HeadraceError if a file of the target cannot be used, or the shape has too few patches.
    """

    def __init__(self, config: ObjectiveConfig, shape: ModelConfig, seed: int):
        self.config, self.seed, self.patches = config, seed, shape.num_patches
        self.order: Array = order(config.order, shape.grid_size).numpy()
        self.masked_patches = round((config.mask_ratio or 0) * self.patches)
        _check(config, self.patches, self.masked_patches)
        self.target = choose(config.target, shape)

    @property
    def outputs(self) -> int:
        """Values that a model predicts of each patch."""
        return self.target.outputs

    @property
    def has_pixels(self) -> bool:
        """Whether a prediction can be drawn."""
        return self.config.target.kind != "tokens"

    def task(self, step: int, lanes: Array, slots: Array) -> Task:
        """What is asked of some images of a step (B,), ordered by lane, then slot. On the CPU.

        Raises ValueError if prefixes are paired and a pair is cut.
        """
        if self.config.kind == "masked":
            count = self.masked_patches
            masked = masks.chosen(self.seed, step, lanes, slots, self.patches, count)
            return predict_masked(masked)
        varies = self.config.attention == "prefix" and self.config.prefixes == "independent"
        return predict_next(self._prefixes(step, lanes, slots), self.order, padded=varies)

    def scored(self, step: int, lanes: Array, slots: Array) -> int:
        """How many predictions of these images count."""
        if self.config.kind == "masked":
            return len(lanes) * self.masked_patches
        return int((self.patches - self._prefixes(step, lanes, slots)).sum())

    def losses(self, predictions: Tensor, images: Tensor, task: Task) -> Tensor:
        """What each prediction costs, (M,) at least float32; padding costs nothing.

        predictions: (M, outputs). images: (B, 3, H, W), normalised like the model's input. Raises
        ValueError on other shapes.
        """
        if predictions.shape != (len(task.rows), self.outputs):
            wanted = (len(task.rows), self.outputs)
            raise ValueError(f"predictions {tuple(predictions.shape)} where {wanted} are asked for")
        values = self.target.wanted_values(images, task.wanted)
        losses = self.target.losses(predictions, values)
        return losses if task.weights is None else losses * task.weights

    def _prefixes(self, step: int, lanes: Array, slots: Array) -> Array:
        if self.config.attention == "causal":
            return np.ones_like(lanes)
        paired = self.config.prefixes == "paired"
        draw = prefixes.paired if paired else prefixes.independent
        return draw(self.seed, step, lanes, slots, self.patches)


def _check(config: ObjectiveConfig, patches: int, masked: int) -> None:
    if patches < 2:
        raise HeadraceError(
            f"model.patch_size: an image of {patches} patch leaves nothing to predict; "
            "use smaller ones"
        )
    if config.kind == "masked" and not 0 < masked < patches:
        raise HeadraceError(
            f"objective.mask_ratio {config.mask_ratio} masks {masked} of {patches} patches, which "
            "asks or shows nothing; choose one between"
        )
