"""Ways to compute prefix attention, for the comparison in `attention.py`: the project's kernels,
torch's backends by name, and what is no kernel of the project because it did not win.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainer.model.attending import causal_overwrite
from trainer.model.attending.choose import attend, prepare

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
Begin = Callable[[Tensor, int, torch.dtype], Attend]
"""From prefixes, K and the dtype of q: what every block then calls."""


@dataclass(frozen=True)
class Candidate:
    """One way; `only` is the single prefix that it is for (0: the whole sequence)."""

    name: str
    begin: Begin
    only: int | None = None

    def prefix(self, prefix: Tensor, length: int) -> Tensor:
        """What it computes when it is given these prefixes."""
        return prefix if self.only is None else torch.full_like(prefix, self.only or length)


def kernel(name: str, backend: SDPBackend | None = None) -> Begin:
    """One of the project's, with a backend of torch's if given."""

    def begin(prefix: Tensor, length: int, dtype: torch.dtype) -> Attend:
        seen = prepare(name, prefix, length)

        def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            with sdpa_kernel(backend) if backend else nullcontext():
                return attend(q, k, v, seen)

        return call

    return begin


def bias(prefix: Tensor, length: int, dtype: torch.dtype) -> Attend:
    """The mask as what torch makes of it in every call: 0 or minus infinity, added."""
    mask = prepare("mask", prefix, length).mask
    added = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=added)


def overwrite_compiled(prefix: Tensor, length: int, dtype: torch.dtype) -> Attend:
    """What a compiled block makes of it."""
    in_prefix = causal_overwrite.prepare(prefix, length)
    compiled = torch.compile(causal_overwrite.attend, dynamic=False)
    return lambda q, k, v: compiled(q, k, v, in_prefix)


def overwrite_by_image(prefix: Tensor, length: int, dtype: torch.dtype) -> Attend:
    """Only the prefix's own rows are computed anew. The host must know the lengths."""
    lengths = prefix.tolist()

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        causal = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        rows = []
        for image, S in enumerate(lengths):
            own = (x[image : image + 1, :, :S] for x in (q, k, v))
            rows.append(
                torch.cat(
                    [F.scaled_dot_product_attention(*own), causal[image : image + 1, :, S:]], 2
                )
            )
        return torch.cat(rows)

    return call


def overwrite_by_varlen(prefix: Tensor, length: int, dtype: torch.dtype) -> Attend:
    """Flash attention without a mask, twice: over all rows, causal; and over prefixes and rests as
    sequences of their own, of which the prefixes are kept. Shapes are static."""
    from torch.nn.attention.varlen import varlen_attn

    images = len(prefix)
    begins = torch.arange(images, device=prefix.device) * length
    cuts = torch.stack([begins, begins + prefix], 1).flatten()
    cuts = F.pad(cuts, (0, 1), value=images * length).int()
    rows = causal_overwrite.prepare(prefix, length)[:, None, :, None]

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        flat = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))  # (B K, heads, head_dim)
        own = varlen_attn(*flat, cuts, cuts, length, length).unflatten(0, (images, length))
        causal = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return torch.where(rows, own.transpose(1, 2), causal)

    return call


MASK = Candidate("mask", kernel("mask"))
CANDIDATES = (
    MASK,
    Candidate("mask, flash", kernel("mask", SDPBackend.FLASH_ATTENTION)),
    Candidate("mask, efficient", kernel("mask", SDPBackend.EFFICIENT_ATTENTION)),
    Candidate("mask, cudnn", kernel("mask", SDPBackend.CUDNN_ATTENTION)),
    Candidate("mask, math", kernel("mask", SDPBackend.MATH)),
    Candidate("mask, added", bias),
    Candidate("causal_overwrite", kernel("causal_overwrite")),
    Candidate("causal_overwrite, compiled", overwrite_compiled),
    Candidate("overwrite by image", overwrite_by_image),
    Candidate("overwrite by varlen", overwrite_by_varlen),
    Candidate("flex", kernel("flex")),
    Candidate("causal", kernel("causal"), only=1),
    Candidate("causal, flash", kernel("causal", SDPBackend.FLASH_ATTENTION), only=1),
    Candidate("causal, cudnn", kernel("causal", SDPBackend.CUDNN_ATTENTION), only=1),
    Candidate("full", kernel("full"), only=0),
)
