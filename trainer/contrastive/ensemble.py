"""Two filters averaged weight by weight: a fine-tuned one and the one that it began with (DFN, §4;
WiSE-FT, arXiv 2109.01903)."""

import json
from typing import Any

import torch
from torch import Tensor

from pipeline.clip import names, saving
from pipeline.clip.opening import Opened, open_model
from pipeline.format.errors import HeadraceError
from trainer.contrastive.export import named
from trainer.stream.identity import differences


def ensemble(one: str, other: str, alpha: float, out: str) -> str:
    """Writes (1 - alpha) · one + alpha · other, in float32, to a folder that open_clip reads.

    `one` and `other` are names of open_clip's, `local-dir:FOLDER` or `hf-hub:ORG/NAME`; `alpha` is
    in [0, 1], and at its ends the weights are those of one of them, bit for bit. Returns what
    `export.named` does. Raises HeadraceError, naming what differs, if they are not models of one
    shape that see the same pixels.
    """
    if not 0 <= alpha <= 1:
        raise HeadraceError(f"alpha {alpha}: not between 0, all of one, and 1, all of the other")
    first, second = (open_model(name, field=name) for name in (one, other))
    _check_alike(one, other, first, second)
    record = {
        "alpha": alpha,
        "one_sha256": names.digest(one, None, one),
        "other_sha256": names.digest(other, None, other),
    }
    weights = _between(first.clip.state_dict(), second.clip.state_dict(), alpha)
    saving.save(out, first.model_cfg, first.preprocess_cfg, weights, record)
    return named(out)


def _check_alike(one: str, other: str, first: Opened, second: Opened) -> None:
    if changed := differences(_shape(first), _shape(second)):
        raise HeadraceError(
            f"{one} and {other} have no mean: {'; '.join(changed)}; name two stages of one training"
        )


def _shape(opened: Opened) -> dict[str, Any]:
    """As JSON holds it: open_clip's defaults have tuples where a file has lists."""
    shape = {"model_cfg": opened.model_cfg, "preprocess_cfg": opened.preprocess_cfg}
    plain: dict[str, Any] = json.loads(json.dumps(shape))
    return plain


def _between(one: dict[str, Tensor], other: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Counters, as BatchNorm's of batches, are no weights: they stay the first one's."""
    return {
        name: torch.lerp(value, other[name], alpha) if value.is_floating_point() else value
        for name, value in one.items()
    }
