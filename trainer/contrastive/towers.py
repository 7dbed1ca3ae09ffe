"""open_clip's model as a training calls it: both towers in one forward, which FSDP sees."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from pipeline.format.errors import HeadraceError
from trainer import compute
from trainer.compute import ComputeConfig

MAX_LOGIT_SCALE = 4.6052
"""ln 100, where CLIP's authors clip the temperature (arXiv 2103.00020, section 2.5)."""

SCALARS = ("logit_scale", "logit_bias")
"""Parameters of open_clip's that may have no dimension, and FSDP shards none of these."""


class Towers(nn.Module):
    """A model of open_clip and its temperature. Weights have its names, behind `clip.`."""

    clip: Any  # open_clip has no types

    def __init__(self, clip: nn.Module) -> None:
        """Takes the model over, in training mode.

        Raises HeadraceError if it learns by more than a contrast of two towers (CoCa).
        """
        super().__init__()
        if type(clip) not in (open_clip.CLIP, open_clip.CustomTextCLIP):
            raise HeadraceError(
                f"model: {type(clip).__name__} is not trained by contrast alone; "
                "name a CLIP architecture"
            )
        self.clip = clip.train()
        for name in SCALARS:
            if getattr(clip, name) is not None:
                setattr(clip, name, nn.Parameter(getattr(clip, name).detach().reshape(1)))
        if clip.logit_bias is not None:  # a softmax over rows does not feel it
            clip.logit_bias.requires_grad_(False)

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, 3, h, w) float and (n, context) int64 to features of both, (n, d) of unit length, and
        the factor of their products, (1,); all float32, whatever the products of autocast are.
        """
        image = functional.normalize(self.clip.encode_image(images).float(), dim=-1)
        caption = functional.normalize(self.clip.encode_text(tokens).float(), dim=-1)
        return image, caption, self.clip.logit_scale.exp()

    def blocks(self) -> list[nn.Module]:
        """What repeats in both towers, outermost: transformer blocks, stages of a ConvNeXt."""
        return list(_repeated(self.clip))

    def stem(self) -> nn.Module:
        """The image tower's first layer with weights."""
        kinds = nn.Conv2d | nn.Linear
        return next(part for part in self.clip.visual.modules() if isinstance(part, kinds))

    def normalises_batches(self) -> bool:
        """Whether an image's features depend on the images beside it."""
        return any(isinstance(part, _BatchNorm) for part in self.clip.modules())

    def prepare(self, config: ComputeConfig, device: torch.device) -> None:
        """Sets the model up as configured, before it is sharded."""
        if config.recompute:
            self.clip.set_grad_checkpointing(True)
        if compute.compiles(config, device):
            for block in self.blocks():
                compute.compile_block(block)

    @torch.no_grad()
    def bound(self) -> None:
        """Keeps the temperature in [0, ln 100]; each rank its own shard of it."""
        scale = self.clip.logit_scale
        local = scale.to_local() if isinstance(scale, DTensor) else scale
        local.clamp_(0, MAX_LOGIT_SCALE)


@contextmanager
def evaluating(towers: Towers) -> Iterator[None]:
    """Without dropout; it trains on afterwards, also if it was interrupted.

    Compiled blocks run as they are written: for another mode torch would compile them again.
    """
    towers.eval()
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        towers.train()


def _repeated(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.Sequential) and len(set(map(type, child))) == 1:
            yield from child
        else:
            yield from _repeated(child)


@torch.no_grad()
def forward_flops(towers: Towers, images: Tensor, tokens: Tensor) -> float:
    """Of both towers on one of these pairs; to be asked before blocks are compiled or sharded.

    Counted are products, two operations for a multiplication and its addition, on tensors without
    memory.
    """
    state = {**dict(towers.named_parameters()), **dict(towers.named_buffers())}
    meta = {name: value.to("meta") for name, value in state.items()}
    with FlopCounterMode(display=False) as counter:
        torch.func.functional_call(towers, meta, (images.to("meta"), tokens.to("meta")))
    return counter.get_total_flops() / len(images)
