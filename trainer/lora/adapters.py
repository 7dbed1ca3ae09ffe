"""Low-rank adapters of attention (LoRA, arXiv 2106.09685): W + s · B · A, of which A and B learn.

Shapes: D trunk width, r rank, L blocks. B begins as zero, so that the model begins as it was.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trainer.model.aim import AIM
from trainer.model.sizes import ModelConfig
from trainer.stream.keyed import base_key

Part = Literal["q", "k", "v", "proj"]

FUSED: tuple[str, ...] = ("q", "k", "v")
"""Whose matrices are thirds of `qkv`, in this order."""


class Adapter(nn.Module):
    """What is added to a linear of D inputs and D outputs: 2 r D parameters."""

    def __init__(self, width: int, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) → (..., D)."""
        added: Tensor = self.scale * self.up(self.down(x))
        return added

    def product(self) -> Tensor:
        """The same as a matrix, (D, D)."""
        return self.scale * (self.up.weight @ self.down.weight)


class Adapters(nn.Module):
    """Those of the first blocks of a trunk, `blocks.{i}.{part}`."""

    def __init__(
        self, width: int, blocks: int, rank: int, parts: Sequence[Part], alpha: float | None = None
    ) -> None:
        """`alpha` over `rank` is the scale; the rank itself without it."""
        super().__init__()
        scale = 1.0 if alpha is None else alpha / rank
        self.blocks = nn.ModuleList(
            nn.ModuleDict({part: Adapter(width, rank, scale) for part in parts})
            for _ in range(blocks)
        )

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        """Draws each A by its name, Kaiming-uniform as a linear's, and makes each B zero."""
        for name, parameter in self.named_parameters():
            if ".up." in name:
                parameter.zero_()
            else:
                drawn = torch.Generator().manual_seed(base_key(seed, "lora", name) >> 1)
                value = torch.empty(parameter.shape)
                nn.init.kaiming_uniform_(value, a=math.sqrt(5), generator=drawn)
                parameter.copy_(value)

    def of(self, block: int) -> dict[str, Adapter]:
        """The adapters of a block, by part."""
        mine: Any = self.blocks[block]
        return dict(mine.items())


class AdaptedQKV(nn.Module):
    """A fused `qkv`, and what is added to its thirds."""

    def __init__(self, frozen: nn.Module, adapters: Mapping[str, Adapter]) -> None:
        super().__init__()
        self.frozen, self.adapters = frozen, nn.ModuleDict(dict(adapters))

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, D) → (B, K, 3 D)."""
        thirds = list(self.frozen(x).chunk(3, dim=-1))
        for part, adapter in self.adapters.items():
            place = FUSED.index(part)
            thirds[place] = thirds[place] + adapter(x)
        return torch.cat(thirds, dim=-1)


class AdaptedProj(nn.Module):
    """An output projection, and what is added to it."""

    def __init__(self, frozen: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.frozen, self.adapter = frozen, adapter

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, D) → (B, K, D)."""
        adapted: Tensor = self.frozen(x) + self.adapter(x)
        return adapted


def attach(model: AIM, adapters: Adapters) -> None:
    """Makes the model compute with the adapters, which stay the caller's: changes the model."""
    for number in range(len(adapters.blocks)):
        attention, mine = _attention(model, number), adapters.of(number)
        fused = {part: one for part, one in mine.items() if part in FUSED}
        if fused:
            attention.qkv = AdaptedQKV(attention.qkv, fused)
        if "proj" in mine:
            attention.proj = AdaptedProj(attention.proj, mine["proj"])


@torch.no_grad()
def merge(model: AIM, adapters: Adapters) -> None:
    """Adds the adapters to the weights of a model that they are not attached to.

    It then computes what the adapted one did, to the last bits of sums.
    """
    for number in range(len(adapters.blocks)):
        attention = _attention(model, number)
        thirds = dict(zip(FUSED, attention.qkv.weight.chunk(3), strict=True))
        weights: dict[str, Tensor] = {**thirds, "proj": attention.proj.weight}
        for part, adapter in adapters.of(number).items():
            weights[part] += adapter.product()


def _attention(model: AIM, block: int) -> Any:
    return model.trunk.blocks[block].attn


def count(model: ModelConfig, rank: int, parts: Sequence[Part], blocks: int | None = None) -> int:
    """Parameters of the adapters of the first blocks, or of all: 2 r D a part and block.

    At rank 8 on q, v and proj this is 48 D L: 0.098% of AIM-7B's trunk, 0.26% of AIM-0.6B's.
    """
    return 2 * rank * model.embed_dim * len(parts) * (model.depth if blocks is None else blocks)
