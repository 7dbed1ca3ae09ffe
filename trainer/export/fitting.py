"""The shape of a model, inferred from the shapes of its weights."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pipeline.format.errors import HeadraceError
from trainer.model.sizes import SIZES, ModelConfig

CONV = "preprocessor.patchifier.proj.weight"
PROJECTION = "pixel_head.decoder_projection.weight"
PREDICTION = "pixel_head.decoder_pred.weight"


def config_of(path: str, tensors: Mapping[str, Tensor], norm_eps: float) -> ModelConfig:
    """The named size that the weights fit, with the pixel head that they have.

    Neither the heads nor the size of the image can be told from the trunk's weights, so other
    sizes must be given: HeadraceError.
    """
    conv = tensors.get(CONV)
    if conv is None or conv.ndim != 4:
        raise HeadraceError(f"{path}: no AIM: it has no patch convolution {CONV}")
    trunk = {"patch_size": conv.shape[-1], "embed_dim": conv.shape[0]}
    trunk["depth"] = _count(tensors, r"trunk\.blocks\.(\d+)\.")
    for size in SIZES.values():
        if all(getattr(size, field) == value for field, value in trunk.items()):
            fields = size.model_dump() | _head(tensors) | {"norm_eps": norm_eps}
            return ModelConfig(**fields)
    shown = ", ".join(f"{field} {value}" for field, value in trunk.items())
    raise HeadraceError(
        f"{path}: fits none of {', '.join(SIZES)} ({shown}); give its sizes (`--model`): the "
        "fields of a run's `model`, written out"
    )


def _head(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields that the pixel head of a file decides; none if it has no head."""
    if PROJECTION not in tensors:
        return {}
    first = "pixel_head.decoder_blocks.0."
    fields: dict[str, Any] = {
        "head_width": len(tensors[PROJECTION]),
        "head_depth": _count(tensors, r"pixel_head\.decoder_blocks\.(\d+)\."),
        "head_block": "official" if first + "norm_1.weight" in tensors else "plain",
    }
    attends = first + "attn.qkv.weight" in tensors
    return fields | ({"head_kind": "transformer"} if attends else {})


def _count(tensors: Mapping[str, Tensor], numbered: str) -> int:
    found = (re.match(numbered, name) for name in tensors)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def outputs_of(tensors: Mapping[str, Tensor], config: ModelConfig) -> int:
    """Values predicted per patch: the rows of the last linear, or a patch's pixels without one."""
    return len(tensors[PREDICTION]) if PREDICTION in tensors else config.patch_dim
