"""Prefix attention: `prepare` once a forward, then `attend` in every block.

The kernels are siblings of one shape, in this folder. Those that take any prefix compute the same.

    seen = prepare("auto", prefix, K)
    for block in blocks:
        x = block(x, seen)
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from trainer.model.attending import causal, causal_overwrite, full, mask

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

_MODULES: dict[str, ModuleType] = {
    "mask": mask,
    "causal_overwrite": causal_overwrite,
    "causal": causal,
    "full": full,
}

KERNELS = ("auto", "mask", "causal_overwrite", "flex", "causal", "full")
"""What may be asked for. `causal` and `full` ignore the prefix: they are for the objectives
whose prefixes are all 1, or all K."""

_AUTO = {
    # Measured: docs/performance.md. Overwriting takes 1.9 times as long, flex cannot train.
    "cpu": "mask",
    # Not measured yet, so the one that always runs: tests/benchmarks/trainer/gpu_attention.py.
    "cuda": "mask",
}
"""The quickest by the type of the device."""


class Seen(NamedTuple):
    """Which keys each query sees, as one kernel wants it.

    A tuple of what torch knows, so that it passes through compiled, recomputed and sharded blocks.
    """

    kernel: str
    mask: "Tensor | BlockMask | None"


def prepare(kernel: str, prefix: Tensor, length: int) -> Seen:
    """What all blocks of one forward share.

    kernel: one of `KERNELS`; prefix: (B,) int64, 1 to K; length: K. Raises ValueError on an
    unknown kernel, or one that cannot run on the device of `prefix`.
    """
    if kernel not in KERNELS:
        raise ValueError(f"unknown attention kernel {kernel!r}: one of {', '.join(KERNELS)}")
    if kernel == "auto":
        kernel = _AUTO.get(prefix.device.type, "mask")
    if kernel == "flex":  # brings torch's compiler along: 1.5 s of every start without it
        _MODULES[kernel] = import_module("trainer.model.attending.flex")
    return Seen(kernel, _MODULES[kernel].prepare(prefix, length))


def attend(q: Tensor, k: Tensor, v: Tensor, seen: Seen) -> Tensor:
    """Scaled dot-product attention over what is seen.

    q, k, v: (B, heads, K, head_dim), one dtype; returns the shape and dtype of v.
    """
    return _MODULES[seen.kernel].attend(q, k, v, seen.mask)
