"""Weights as Apple's code stores them: random tensors under its names, written out by hand."""

import torch
from torch import Tensor

from tests.trainer.export.reference import code
from trainer.model.sizes import ModelConfig

CONFIG = ModelConfig(
    image_size=32,
    patch_size=8,
    embed_dim=32,
    depth=7,
    num_heads=2,
    head_width=48,
    head_depth=2,
)
"""A size without a name, deep enough for a mean over six blocks."""


def filled(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Float32, each about as large as what training makes."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) * 0.2 + ("norm" in name)
        for name, shape in shapes.items()
    }


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def release(c: ModelConfig = CONFIG) -> dict[str, Tensor]:
    """A backbone of apple/ml-aim."""
    d, p = c.embed_dim, c.patch_size
    shapes: dict[str, tuple[int, ...]] = {
        "preprocessor.patchifier.proj.weight": (d, 3, p, p),
        "preprocessor.patchifier.proj.bias": (d,),
        **norm("preprocessor.patchifier.norm", d),
    }
    for n in range(c.depth):
        block = f"trunk.blocks.{n}."
        shapes |= {
            block + "attn.qkv.weight": (3 * d, d),
            block + "attn.proj.weight": (d, d),
            **norm(block + "norm_1", d),
            block + "mlp.fc1.weight": (4 * d, d),
            block + "mlp.fc2.weight": (d, 4 * d),
            **norm(block + "norm_2", d),
        }
    return filled(shapes | norm("trunk.post_trunk_norm", d))


def probe(c: ModelConfig = CONFIG) -> dict[str, Tensor]:
    """The head of apple/ml-aim, with its running statistics."""
    d = c.embed_dim
    shapes = {"cls_token": (1, 1, d), "k.weight": (d, d), "v.weight": (d, d)}
    shapes |= {"linear.weight": (10, d), "bn.running_mean": (d,), "bn.running_var": (d,)}
    named = {f"head.{name}": shape for name, shape in shapes.items()}
    return filled(named) | {"head.bn.num_batches_tracked": torch.tensor(3)}


def training(c: ModelConfig = CONFIG, outputs: int | None = None) -> dict[str, Tensor]:
    """A model of apple/ml-l3m as configs/aimv1 builds it: `MultiBlock`, separate q, k, v."""
    d, p, w = c.embed_dim, c.patch_size, c.head_width
    shapes: dict[str, tuple[int, ...]] = {
        "preprocessor.blocks.0.patchifier.proj.weight": (d, 3, p, p),
        "preprocessor.blocks.0.patchifier.proj.bias": (d,),
        **norm("preprocessor.blocks.0.patchifier.norm", d),
    }
    for n in range(c.depth):
        block = f"trunk.blocks.{n}."
        shapes |= {f"{block}attn.{name}_proj.weight": (d, d) for name in "qkv"}
        shapes |= {block + "attn.proj.weight": (d, d), **norm(block + "norm_1", d)}
        shapes |= {block + "mlp.fc1.weight": (4 * d, d), block + "mlp.fc2.weight": (d, 4 * d)}
        shapes |= norm(block + "norm_2", d)
    shapes |= norm("trunk.post_trunk_norm", d)
    shapes |= {"head.decoder_projection.weight": (w, d), "head.decoder_projection.bias": (w,)}
    for n in range(c.head_depth):
        block = f"head.decoder_blocks.{n}."
        shapes |= norm(block + "norm_1", w) | norm(block + "norm_2", w)
        shapes |= {block + "mlp.fc1.weight": (4 * w, w), block + "mlp.fc2.weight": (w, 4 * w)}
    shapes |= norm("head.decoder_norm", w)
    values = outputs or 3 * p**2
    shapes |= {"head.decoder_pred.weight": (values, w), "head.decoder_pred.bias": (values,)}
    codes = {"preprocessor.blocks.0.pos_embed": d, "head.decoder_pos_embed": w}
    return filled(shapes) | {
        name: code(width, c.grid_size).float()[None] for name, width in codes.items()
    }
