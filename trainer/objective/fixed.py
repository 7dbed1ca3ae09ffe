"""Questions that are the same in every run, whatever its seed: for validation and pictures."""

from dataclasses import replace

import numpy as np
import torch

from trainer.objective import masks, prefixes
from trainer.objective.masks import Bools
from trainer.objective.objective import Objective
from trainer.objective.task import Task, predict_masked, predict_next
from trainer.stream.plan import Array

SEED = 2401_08541
"""Of what is drawn: the paper's number."""


def forms(objective: Objective) -> tuple[str, ...]:
    """The names of the questions that `asked` has, in its order."""
    return ("masked",) if objective.config.kind == "masked" else ("causal", "prefix")


def asked(objective: Objective, samples: Array, real: Bools) -> list[Task]:
    """Each form's question about the samples (B,); of those that are not `real` nothing is asked.

    `causal` asks for the patches 1 to K - 1 of every image; `prefix` draws S, and `masked` its
    masks, as in training, but from a key that is the sample's own.
    """
    if objective.config.kind == "masked":
        return [predict_masked(_masked(objective, samples) & real[:, None], padded=True)]
    K, zeros = objective.patches, np.zeros_like(samples)
    lengths = (np.ones_like(samples), prefixes.independent(SEED, 0, samples, zeros, K))
    return [predict_next(np.where(real, S, K), objective.order, padded=True) for S in lengths]


def pictured(objective: Objective, count: int) -> Task:
    """What is drawn of so many images: the second half of the sequence, or what is masked."""
    if objective.config.kind == "masked":
        return predict_masked(_masked(objective, np.arange(count)))
    task = predict_next(np.full(count, objective.patches // 2), objective.order)
    causal = objective.config.attention == "causal"
    return replace(task, prefix=torch.ones_like(task.prefix)) if causal else task


def _masked(objective: Objective, samples: Array) -> Bools:
    zeros = np.zeros_like(samples)
    count = objective.masked_patches
    return masks.chosen(SEED, 0, samples, zeros, objective.patches, count)
