"""`headrace eval loss`: the validation loss of a run at each place in the sequence.

    <evaluation>/losses/<digest>/   every image's loss at every place; see trainer/extracting.py
    <evaluation>/results.json       every figure

The questions are those of the validation while training (trainer/objective/fixed.py), so the means
are too. The intervals are over images: as if others had been drawn for the set, not as if another
model had been trained.
"""

import hashlib
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from jobs.evaluation.extracting import PassConfig, computing, extract
from jobs.evaluation.results import publish
from pipeline.assess.intervals import Floats, Interval, bootstrap
from pipeline.format import address
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience
from trainer.extracting import Rows
from trainer.frozen import Frozen, open_frozen
from trainer.model.aim import AIM
from trainer.objective import fixed
from trainer.objective.config import ObjectiveConfig
from trainer.objective.objective import Objective
from trainer.perposition import losses, places
from trainer.stream.ordered import held_out

SEED = 0
"""Of the resamples. The questions are drawn by `fixed.SEED`."""


class LossConfig(PassConfig):
    """A validation loss, place by place."""

    data: str = Field(min_length=1)
    """A dataset or snapshot that the model was not trained on."""


def run(config: LossConfig) -> dict[str, Any]:
    """Makes the losses that are missing, adds them up, and writes results.json; returns it.

    A killed run goes on where it was, and gives the same bytes. Raises HeadraceError if the weights
    are no run's or have no head, if the set cannot be had, or if a sample is damaged.
    """
    with computing(config) as device:
        frozen = open_frozen(config.weights, device)
        objective = _objective(config.weights, frozen)
        rows = _losses(config, frozen, objective)
        figures = {"forms": _figures(rows, objective)}
    return publish(config, "loss", frozen.told, {"test": rows}, None, figures)


def _objective(weights: str, frozen: Frozen) -> Objective:
    """What the model was trained with. Raises HeadraceError if that is not told, or has no head."""
    training = frozen.record.training
    what = f"{address.redact(weights)}: a loss is of a run of ours"
    if training is None or not training.objective:
        raise HeadraceError(
            f"{what}, and these weights do not say what they were trained to predict; name a run, "
            "one of its checkpoints, or its export"
        )
    if not frozen.has_head:
        raise HeadraceError(
            f"{what} with its pixel head, and this is a backbone alone; name the run, one of its "
            "checkpoints, or the folder of its export"
        )
    objective = ObjectiveConfig.model_validate(training.objective)
    return Objective(objective, frozen.model.config, training.seed)


def _losses(config: LossConfig, frozen: Frozen, objective: Objective) -> Rows:
    """Of the set, (n, forms · places)."""
    model, source = frozen.model, held_out(config.data, Patience())
    model.kernel = "mask"  # which takes any prefix

    def make(images: Tensor, samples: Tensor) -> Tensor:
        found = losses(model, objective, images, samples).flatten(1)
        if found.isinf().any():
            raise HeadraceError(
                f"{address.redact(config.weights)}: its loss is not finite; name an earlier "
                "checkpoint, or set precision to float32"
            )
        return found

    identity = {
        "weights": _digest(model),
        "model": frozen.told["model"],
        "objective": objective.config.model_dump(mode="json"),
        "target": objective.target.digest,
    }
    size = model.config.image_size
    return extract(config, "losses", source, size, identity, make)


def _digest(model: AIM) -> str:
    """Of all weights: unlike features, a loss depends on the head."""
    digest = hashlib.sha256()
    for name, value in model.named_parameters():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _figures(rows: Rows, objective: Objective) -> dict[str, Any]:
    """By form: the mean of all its predictions with its interval, and the mean at each place."""
    shape = (-1, len(fixed.forms(objective)), places(objective))
    each = torch.cat([chunk.rows for chunk in rows]).view(shape).double().numpy()
    named = zip(fixed.forms(objective), each.swapaxes(0, 1), strict=True)
    return {
        form: {"mean": _mean(found)._asdict(), "positions": _by_place(found)}
        for form, found in named
    }


def _mean(found: Floats) -> Interval:
    """Of (n, places) over all that was asked: images of which more was asked count more."""
    sums, counts = np.nansum(found, axis=1), (~np.isnan(found)).sum(axis=1)

    def mean(weights: Floats) -> Floats:
        return (weights @ sums) / (weights @ counts)

    return bootstrap(mean, len(found), SEED)


def _by_place(found: Floats) -> list[float | None]:
    """None where no image was asked."""
    counts = (~np.isnan(found)).sum(axis=0)
    sums = np.nansum(found, axis=0)
    return [
        total / count if count else None
        for total, count in zip(sums.tolist(), counts.tolist(), strict=True)
    ]
