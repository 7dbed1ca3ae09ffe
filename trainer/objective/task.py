"""What a model is asked about a batch: what it sees, and which patches it is to predict.

Shapes: B images, K patches, M predictions. A *position* counts in the order that patches are read
in, a *cell* row by row in the image.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from trainer.objective.masks import Bools
from trainer.stream.plan import Array
from trainer.stream.transfer import sent

SHAPES = 8
"""M is rounded up to one of so many sizes where chance decides it: each is compiled for anew, and
torch compiles a block for no more (`torch._dynamo.config.recompile_limit`)."""


@dataclass(frozen=True)
class Task:
    """One batch's question. All on one device."""

    prefix: Tensor
    """(B,) int64: patches that all see each other, 1 (causal) to K (bidirectional)."""
    rows: Tensor
    """(M,) int64, b·K + position whose prediction is wanted."""
    wanted: Tensor
    """(M,) int64, b·K + cell of the patch that it is about."""
    weights: Tensor | None = None
    """(M,) float32, 1 for a prediction that counts and 0 for padding; None if all count."""
    masked: Tensor | None = None
    """(B, K) bool over positions: patches that are not shown."""

    def to(self, device: torch.device) -> "Task":
        """The same there; a GPU is not waited for."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{n: sent(x, device) for n, x in named.items() if x is not None})


def predict_next(prefix: Array, order: Array, padded: bool = False) -> Task:
    """From each position the patch after it, outside the prefixes (AIM §4.2).

    prefix (B,): 1 to K, which asks nothing. order (K,): the cell of each position. `padded`
    rounds M up. The target i ≥ S is predicted at position i - 1, so no one predicts the first.
    """
    if (prefix < 1).any():
        raise ValueError("a prefix has at least 1 patch: nothing comes before the first")
    image, target = np.nonzero(np.arange(len(order)) >= prefix[:, None])
    first = image * len(order)
    return _task(prefix, first + target - 1, first + order[target], len(order), padded)


def predict_masked(masked: Bools, padded: bool = False) -> Task:
    """Each masked patch (B, K) at its own position, from all that are shown (AIM §5.3)."""
    rows = np.flatnonzero(masked)
    task = _task(np.full(*masked.shape), rows, rows, masked.shape[1], padded)
    return replace(task, masked=torch.from_numpy(masked))


def _task(prefix: Array, rows: Array, wanted: Array, patches: int, padded: bool) -> Task:
    prefixes = torch.from_numpy(prefix)
    if not padded:
        return Task(prefixes, torch.from_numpy(rows), torch.from_numpy(wanted))
    part = -(-len(prefix) * patches // SHAPES)
    padding = max(part, -(-len(rows) // part) * part) - len(rows)
    weights = torch.from_numpy(np.repeat(np.array([1, 0], np.float32), [len(rows), padding]))
    rows, wanted = (np.pad(numbers, (0, padding)) for numbers in (rows, wanted))
    return Task(prefixes, torch.from_numpy(rows), torch.from_numpy(wanted), weights)
