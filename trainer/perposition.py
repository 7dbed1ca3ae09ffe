"""The loss of each image at each place in the sequence, in the fixed forms of `objective/fixed.py`.

`validation.py` adds the same losses up while a run trains. Here none is added to another, so that
curves over the sequence (AIM figure 7) and intervals over images can be told afterwards.
"""

import numpy as np
import torch
from torch import Tensor

from trainer.model.aim import AIM
from trainer.objective import fixed
from trainer.objective.objective import Objective
from trainer.objective.task import Task


def places(objective: Objective) -> int:
    """How many there are: K, or K - 1 where nothing is asked about the first patch."""
    return objective.patches - _unasked(objective)


@torch.no_grad()
def losses(model: AIM, objective: Objective, images: Tensor, samples: Tensor) -> Tensor:
    """(B, forms, places) float32: what was lost at each place; NaN where nothing is asked, and
    infinite where the loss is not finite.

    images: (B, 3, H, W) normalised, on the model's device. samples: (B,) int64, the numbers that
    prefixes and masks are drawn by. Forms are those of `fixed.forms`, in its order. The model must
    be in evaluation, with a kernel that takes any prefix (`mask`, `auto`).
    """
    numbers = samples.numpy()
    tasks = fixed.asked(objective, numbers, np.ones(len(numbers), bool))
    asked = (_losses(model, objective, images, task.to(images.device)) for task in tasks)
    return torch.stack(list(asked), dim=1)


def _losses(model: AIM, objective: Objective, images: Tensor, task: Task) -> Tensor:
    """(B, places) of one form."""
    predictions = model(images, task.prefix, task.rows, task.masked)
    found = objective.losses(predictions, images, task).float()
    skipped = _unasked(objective)
    # Position p predicts the patch p + 1 of the sequence, or, masked, its own.
    about = task.rows + skipped
    counts = torch.ones_like(about, dtype=torch.bool) if task.weights is None else task.weights > 0
    every = found.new_full((len(images) * objective.patches,), torch.nan)
    every[about[counts]] = found[counts].nan_to_num(torch.inf, torch.inf)
    return every.view(len(images), -1)[:, skipped:]


def _unasked(objective: Objective) -> int:
    return 0 if objective.config.kind == "masked" else 1
