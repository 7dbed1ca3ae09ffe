"""A trunk as evaluations read it: frozen, from wherever its weights lie.

Shapes: B images, K patches, D trunk width. A window is a set of blocks whose outputs are averaged.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pipeline.format import address
from pipeline.format.errors import HeadraceError
from trainer import distributed
from trainer.distributed import World
from trainer.export.names import HEAD, is_backbone
from trainer.export.read import filled, find
from trainer.export.record import Record
from trainer.export.runs import is_run, of_run
from trainer.model.aim import AIM
from trainer.model.attending.choose import prepare
from trainer.model.sizes import SIZES, ModelConfig

Window = tuple[int, ...]
"""Blocks by number from 0."""

Sees = Literal["bidirectional", "causal"]

KERNELS = {"bidirectional": "full", "causal": "causal"}

AVERAGED = 6
"""Blocks that a probe reads (apple/ml-aim, AverageLayers)."""

BEST_LAYERS: dict[str, Window] = {
    "aim-600m": tuple(range(14, 20)),
    "aim-1b": tuple(range(12, 18)),
    "aim-3b": tuple(range(12, 18)),
    "aim-7b": tuple(range(14, 20)),
}
"""Where the released probes called `best` read (apple/ml-aim, aim-v1/aim/v1/constants.py)."""


@dataclass(frozen=True)
class Frozen:
    """A model whose weights stay as they are."""

    model: AIM
    sees: Sees
    """Whether a patch sees all others, as the paper probes, or none that come later."""
    told: dict[str, Any]
    """What it is, for a file of results."""
    record: Record
    """The same as an export says it."""
    has_head: bool
    """Whether what predicts was stored, too; else it is drawn."""

    @property
    def identity(self) -> dict[str, Any]:
        """What of `told` is the same wherever the weights lie."""
        return {name: value for name, value in self.told.items() if name not in ("weights", "run")}

    @property
    def depth(self) -> int:
        """Blocks of the trunk."""
        return self.model.config.depth

    @property
    def width(self) -> int:
        """D."""
        return self.model.config.embed_dim

    @property
    def num_heads(self) -> int:
        """Attention heads of a block."""
        return self.model.config.num_heads

    @property
    def head_dim(self) -> int:
        """Channels of an attention head."""
        return self.model.config.head_dim

    @torch.no_grad()
    def windows(self, images: Tensor, windows: Sequence[Window]) -> list[Tensor]:
        """For each window the mean of its blocks' outputs, (B, K, D) float32; see `means`."""
        return means(self.model, images, windows, self.sees)


def check(frozen: Frozen, image_size: int, world: World) -> None:
    """Raises HeadraceError on all ranks if images of that size do not fit the trunk, or if it is
    not the same on all of them. A collective call."""
    wanted = frozen.model.config.image_size
    if image_size != wanted:
        raise HeadraceError(
            f"stream.image_size {image_size} must be the trunk's image_size {wanted}"
        )
    if world.size > 1 and len(set(distributed.gather(frozen.told["sha256"]))) > 1:
        raise HeadraceError(
            f"weights: {frozen.told['weights']} is not the same on all ranks; "
            "give their machines the same files"
        )


def means(model: AIM, images: Tensor, windows: Sequence[Window], sees: Sees) -> list[Tensor]:
    """For each window the mean of its blocks' outputs, (B, K, D) float32.

    images: (B, 3, H, W) float, mean and deviation normalised. An output is the residual stream
    after the block, before the trunk's last norm (AIM release); patches are in the order of the
    model. No block runs that no window needs.
    """
    x = model.preprocessor(images)
    everyone = torch.ones(len(images), dtype=torch.int64, device=images.device)
    seen = prepare(KERNELS[sees], everyone, model.config.num_patches)
    sums: list[Tensor | None] = [None] * len(windows)
    for number in range(1 + max(max(window) for window in windows)):
        x = model.trunk.blocks[number](x, seen)
        for place, window in enumerate(windows):
            if number in window:
                before, share = sums[place], x.float() / len(window)
                sums[place] = share if before is None else before + share
    return [total for total in sums if total is not None]  # every window has a block


def open_frozen(
    weights: str,
    device: torch.device,
    model: ModelConfig | None = None,
    sees: Sees = "bidirectional",
) -> Frozen:
    """Opens a trunk for evaluation, in float32 on the device.

    weights: a run's folder, that of its checkpoints or one of these (paths or URLs), an export's
    folder, or a file of Apple's release or training code; `model` is needed for such if its sizes
    have no name. Raises HeadraceError, on one line, for anything else.
    """
    run, tensors, record = _found(weights, model)
    aim = filled(record, tensors).to(device)
    aim.eval().requires_grad_(False)
    where = {"weights": address.redact(weights), "run": run and address.redact(run)}
    has_head = any(name.startswith(HEAD) for name in tensors)
    return Frozen(aim, sees, where | _told(tensors, record), record, has_head)


def last_layers(depth: int) -> Window:
    """The last six blocks, or all of a trunk that has no more."""
    return tuple(range(max(0, depth - AVERAGED), depth))


def best_layers(model: ModelConfig) -> Window:
    """The blocks that the release found best for a trunk of this size.

    Raises HeadraceError for a size that it does not have.
    """
    for name, window in BEST_LAYERS.items():
        size = SIZES[name]
        if (size.embed_dim, size.depth) == (model.embed_dim, model.depth):
            return window
    raise HeadraceError(
        f"layers: best is known for {', '.join(BEST_LAYERS)}, and this trunk has width "
        f"{model.embed_dim} and {model.depth} blocks; use search, last, or their numbers"
    )


def _found(weights: str, model: ModelConfig | None) -> tuple[str | None, dict[str, Tensor], Record]:
    """The run that they are of if they are a checkpoint, the weights, and what they are."""
    if is_run(weights):
        of = of_run(weights)
        return of.run, of.tensors, of.record
    found = find(weights, model)
    return None, found.tensors, found.record


def _told(tensors: dict[str, Tensor], record: Record) -> dict[str, Any]:
    """The same for the same weights, wherever they lie."""
    training = record.training
    return {
        "sha256": _digest(tensors),
        "model": record.model.model_dump(mode="json"),
        "order": record.order,
        "step": training.step if training else None,
        "digest": training.digest if training else None,
    }


def _digest(tensors: dict[str, Tensor]) -> str:
    """Of what is evaluated: the backbone, in float32."""
    digest = hashlib.sha256()
    for name in filter(is_backbone, sorted(tensors)):
        digest.update(name.encode())
        data = tensors[name].to(torch.float32).contiguous().flatten()
        digest.update(data.view(torch.uint8).numpy().data)
    return digest.hexdigest()
