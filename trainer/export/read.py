"""Weights from elsewhere, and our own exports, into an AIM.

Epsilon of the norms is part of no weights: an export of ours tells it, Apple's release computes
with 1e-6 (apple/ml-aim, aim-v1/aim/v1/torch/layers.py), Apple's training config says 1e-5
(apple/ml-l3m, configs/aimv1/001_aim_v1_600M.yaml).
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.format.errors import HeadraceError
from trainer.export.fitting import config_of, outputs_of
from trainer.export.names import HEAD, Origin, is_backbone, translate
from trainer.export.opening import open_weights
from trainer.export.positions import patches_of
from trainer.export.record import Record, installed
from trainer.model.aim import AIM
from trainer.model.init import assign
from trainer.model.sizes import ModelConfig

NORM_EPS: dict[Origin, float] = {"ml-aim": 1e-6, "ml-l3m": 1e-5}
"""By whose names the weights have, where no config of ours tells it."""

UNSHAPED = ("norm_eps", "num_heads")
"""What a model computes with and no weight has the shape of."""

SHOWN = 4
"""Names of each kind that a message lists."""


class Found(NamedTuple):
    """Weights as they lay there, under our names, and the model they are of."""

    path: str
    tensors: dict[str, Tensor]
    record: Record
    unused: tuple[str, ...]
    """Names that were left out: the release's probe."""

    @property
    def has_head(self) -> bool:
        """Whether there is more than the backbone."""
        return any(name.startswith(HEAD) for name in self.tensors)


class Read(NamedTuple):
    """A model with the weights, and what they did not say."""

    model: AIM
    record: Record
    head_was_drawn: bool
    """No head was stored, so it begins as in a new run of that seed."""


def find(path: str | Path, config: ModelConfig | None = None) -> Found:
    """The weights of a file or folder, of any of the kinds in `names.py`.

    `config` is needed for foreign weights that fit no named size. Of the release's, its epsilon
    counts only if it was written out. Raises HeadraceError, on one line, for anything that is no
    AIM or would compute something else here.
    """
    opened = open_weights(Path(path))
    origin, tensors, positions, unused = translate(opened.tensors)
    patches = patches_of(str(path), positions)
    record = opened.record or _record(str(path), origin, tensors, config)
    if patches not in (None, record.model.num_patches):
        raise HeadraceError(
            f"{path}: its position code is for {patches} patches, the model has "
            f"{record.model.num_patches}; give the image_size that it was trained with"
        )
    found = Found(str(path), tensors, record, unused)
    _check(found, _on_meta(record))
    return found


def read(path: str | Path, config: ModelConfig | None = None, seed: int = 0) -> Read:
    """Builds the model of some weights, float32 on the CPU, and fills it; raises as `find` does.

    Without a stored head, the head is the one that a new run of that `seed` begins with.
    """
    found = find(path, config)
    model = filled(found.record, found.tensors, seed)
    return Read(model, found.record, not found.has_head)


def filled(record: Record, tensors: Mapping[str, Tensor], seed: int = 0) -> AIM:
    """The model of a record, float32 on the CPU, with the weights that there are of it by our
    names; what is missing of them is drawn as in a new run of that `seed`."""
    model = _on_meta(record)
    model.materialise("cpu")
    if any(name not in tensors for name, _ in model.named_parameters()):
        model.init_weights(torch.Generator().manual_seed(seed))
    _fill(model, tensors)
    return model


def load_weights_into(model: AIM, path: str | Path) -> Found:
    """Fills a model, sharded or not, on all ranks alike; without a stored head, its own stays.

    Raises HeadraceError as `find` does, and if the model is another one. Then it is as it was.
    """
    config = ModelConfig(**model.config.model_dump(exclude={"norm_eps"}))
    found = find(path, config)
    _check(found, model)
    for field in UNSHAPED:
        theirs, ours = getattr(found.record.model, field), getattr(model.config, field)
        if theirs != ours:
            raise HeadraceError(
                f"{path}: these weights are for a {field} of {theirs:g}, and the model has "
                f"{ours:g}; set model.{field}, or `headrace import` them with another"
            )
    _fill(model, found.tensors)
    return found


def _record(
    path: str,
    origin: Origin,
    tensors: Mapping[str, Tensor],
    config: ModelConfig | None,
) -> Record:
    """The record that foreign weights do not have."""
    eps = NORM_EPS.get(origin, ModelConfig.model_fields["norm_eps"].default)
    if config is None:
        config = config_of(path, tensors, eps)
    elif "norm_eps" not in config.model_fields_set:
        config = config.model_copy(update={"norm_eps": eps})
    return Record(
        headrace=installed(),
        model=config,
        outputs=outputs_of(tensors, config),
        mask_token="preprocessor.mask_token" in tensors,
        origin=origin,
    )


def _on_meta(record: Record) -> AIM:
    with torch.device("meta"):
        return AIM(record.model, record.outputs, record.order, record.mask_token)


def _check(found: Found, model: AIM) -> None:
    """Raises HeadraceError unless the weights are all of the model's, or all of its backbone's."""
    wanted = dict(model.named_parameters())
    if not found.has_head:
        wanted = {name: value for name, value in wanted.items() if is_backbone(name)}
    missing = [name for name in wanted if name not in found.tensors]
    unexpected = [name for name in found.tensors if name not in wanted]
    misfits = [
        f"{name} is {_told(value)}, not {_told(wanted[name])}"
        for name, value in found.tensors.items()
        if name in wanted and not _fits(value, wanted[name])
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": misfits}
    faults = [_listed(kind, names) for kind, names in kinds.items() if names]
    if faults:
        m = model.config
        raise HeadraceError(
            f"{found.path}: not the weights of an AIM of width {m.embed_dim}, {m.depth} blocks, "
            f"patches of {m.patch_size} and an {m.head_kind} head: " + "; ".join(faults)
        )


def _fits(value: Tensor, wanted: Tensor) -> bool:
    return value.shape == wanted.shape and value.is_floating_point()


def _told(value: Tensor) -> str:
    kind = "" if value.is_floating_point() else f" {value.dtype}".replace("torch.", "")
    return " x ".join(map(str, value.shape)) + kind


def _listed(kind: str, names: Collection[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {kind} ({', '.join(list(names)[:SHOWN])}{more})"


def _fill(model: AIM, tensors: Mapping[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        if name in tensors:
            assign(parameter, tensors[name].to(parameter.device, torch.float32))
