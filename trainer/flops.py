"""What a training step computes, and how much of the device that is: FLOPs and MFU.

Counted are products of matrices as they are run, two operations for a multiplication and its
addition: the head on scored rows only, attention as its kernel does it. Not counted are norms,
GELUs, the loss, a frozen tokenizer, and whatever is computed twice: recomputed activations and the
scores that a flash kernel's backward makes again.
"""

from typing import NamedTuple

import torch

from trainer.model.sizes import ModelConfig

TILE = 128
"""Rows and columns of a tile of FlexAttention, which runs a tile whole or not at all (torch's
`create_block_mask`)."""


class Flops(NamedTuple):
    """Of one image's forward pass, by part."""

    embedding: float
    """From pixels to tokens."""
    trunk: float
    """The linears of the trunk's blocks."""
    attention: float
    """Queries times keys and weights times values, in the trunk."""
    head: float
    """All of the head, its attention included."""

    @property
    def forward(self) -> float:
        """Of the forward pass."""
        return sum(self)

    @property
    def training(self) -> float:
        """Forward and backward, which needs two products for each one. Pixels need no gradient."""
        return 3 * sum(self) - self.embedding


def image_flops(
    config: ModelConfig,
    outputs: int | None = None,
    kernel: str = "mask",
    rows: float | None = None,
) -> Flops:
    """FLOPs of one image in a model that predicts `outputs` values a patch (None: its pixels).

    kernel: of attention, as `trainer.model.attending` names it. rows: scored rows of an image, M
    over B, in the mean; all K without it. Raises ValueError on a kernel that is not known.
    """
    K, D = config.num_patches, config.embed_dim
    pairs = attended_pairs(kernel, K)
    return Flops(
        embedding=2.0 * K * config.patch_dim * D,
        trunk=2.0 * K * config.depth * _block_weights(D, config.mlp_ratio),
        attention=4.0 * pairs * D * config.depth,
        head=_head(config, outputs or config.patch_dim, pairs, K if rows is None else rows),
    )


def _head(config: ModelConfig, outputs: int, pairs: float, rows: float) -> float:
    """Patches of a transformer head see each other, so all K of them run but in the last linear."""
    D, W, depth, ratio = config.embed_dim, config.head_width, config.head_depth, config.mlp_ratio
    if config.head_kind == "none":
        return 2.0 * rows * D * outputs
    if config.head_kind == "mlp":
        return 2.0 * rows * (D * W + depth * 2 * ratio * W**2 + W * outputs)
    blocks = 2.0 * config.num_patches * (D * W + depth * _block_weights(W, ratio))
    return blocks + 4.0 * pairs * W * depth + 2.0 * rows * W * outputs


def _block_weights(width: int, ratio: int) -> int:
    """Of a transformer block's linears: qkv, projection and MLP."""
    return (4 + 2 * ratio) * width**2


def attended_pairs(kernel: str, patches: int) -> float:
    """(query, key) pairs that a kernel computes for one image and head.

    - `mask`, `full`: all K², as a mask of pairs spares nothing.
    - `causal`: those on and below the diagonal. A real kernel also runs the rest of the tiles that
      the diagonal cuts; that is its loss, not work done.
    - `causal_overwrite`: both passes, causal and full.
    - `flex`: the tiles that hold something visible, in the mean over prefixes 1 to K - 1.

    Raises ValueError on another name; `auto` is none until it is resolved.
    """
    triangle = patches * (patches + 1) / 2
    counts = {
        "mask": float(patches**2),
        "full": float(patches**2),
        "causal": triangle,
        "causal_overwrite": patches**2 + triangle,
        "flex": _tiled_pairs(patches),
    }
    if kernel not in counts:
        raise ValueError(f"no FLOPs known of attention kernel {kernel!r}: {', '.join(counts)}")
    return counts[kernel]


def _tiled_pairs(patches: int) -> float:
    """A tile above the diagonal, whose keys begin at k, is run for every prefix longer than k."""
    begins = range(0, patches, TILE)
    sides = {begin: min(TILE, patches - begin) for begin in begins}
    prefixes = max(patches - 1, 1)
    shares = ((q, k, 1.0 if k <= q else (prefixes - k) / prefixes) for q in begins for k in begins)
    return sum(sides[q] * sides[k] * share for q, k, share in shares)


class Card(NamedTuple):
    """A kind of GPU."""

    words: tuple[str, ...]
    """All of these stand in the name that its driver gives it."""
    peak: float
    """Dense bfloat16 FLOP/s with float32 sums."""
    source: str
    """The vendor's figure that it is from: twice as high where it is of sparse matrices."""


CARDS = (
    Card(("GB200",), 2500e12, "NVIDIA GB200 NVL72 data sheet: 360 PFLOPS of 72, sparse"),
    Card(("B200",), 2250e12, "NVIDIA HGX B200 data sheet: 36 PFLOPS of 8, sparse"),
    Card(("GH200",), 989e12, "NVIDIA GH200 data sheet: 1,979 TFLOPS, sparse"),
    Card(("H200", "NVL"), 835e12, "NVIDIA H200 data sheet: 1,671 TFLOPS, sparse"),
    Card(("H200",), 989e12, "NVIDIA H200 data sheet: 1,979 TFLOPS, sparse"),
    Card(("H100", "NVL"), 835e12, "NVIDIA H100 data sheet: 1,671 TFLOPS, sparse"),
    Card(("H100", "PCIe"), 756e12, "NVIDIA H100 data sheet: 1,513 TFLOPS, sparse"),
    Card(("H100",), 989e12, "NVIDIA H100 data sheet: 1,979 TFLOPS of the SXM, sparse"),
    Card(("A100",), 312e12, "NVIDIA A100 data sheet: 312 TFLOPS, dense"),
    Card(("L40S",), 362e12, "NVIDIA L40S data sheet: 362 TFLOPS, dense"),
    Card(("L40",), 181e12, "NVIDIA L40 data sheet: 181 TFLOPS, dense"),
    Card(("L4",), 121e12, "NVIDIA L4 data sheet: 242 TFLOPS, sparse"),
    Card(("A40",), 149.7e12, "NVIDIA A40 data sheet: 149.7 TFLOPS, dense"),
    Card(("A10",), 125e12, "NVIDIA A10 data sheet: 125 TFLOPS, dense"),
    Card(("MI300X",), 1307e12, "AMD Instinct MI300X data sheet: 1,307 TFLOPS, dense"),
)
"""The first that fits is the card. The figures are those that these sheets are known for;
the sheets themselves were not opened when this was written, so check yours."""


def peak_flops(device: torch.device) -> float | None:
    """Dense bfloat16 FLOP/s that the device is sold with; None for a CPU or an unknown card."""
    return peak_of(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


def peak_of(name: str) -> float | None:
    """The same by a card's name. None for a slice of a card (MIG), whose share is not in it."""
    words = set(name.replace("-", " ").split())
    fits = (card.peak for card in CARDS if words.issuperset(card.words))
    return None if "MIG" in words else next(fits, None)


def tflops(images_per_second: float, flops_per_image: float, world_size: int) -> float:
    """TFLOP/s of one device. The speed is of all `world_size` devices together."""
    return images_per_second * flops_per_image / world_size / 1e12


def mfu(
    images_per_second: float, flops_per_image: float, world_size: int, peak: float | None
) -> float | None:
    """Share of `peak`, a device's FLOP/s, that the training makes use of; None without a peak."""
    if peak is None:
        return None
    return tflops(images_per_second, flops_per_image, world_size) * 1e12 / peak


def utilisation(
    images_per_second: float, flops_per_image: float, world_size: int, peak: float | None
) -> dict[str, float]:
    """`tflops`, and `mfu` where a peak is known, as the log has them."""
    speed = images_per_second, flops_per_image, world_size
    share = mfu(*speed, peak)
    fields = {"tflops": float(f"{tflops(*speed):.4g}")}
    return fields if share is None else fields | {"mfu": round(share, 4)}
