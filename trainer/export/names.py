"""Names of parameters: ours, those of Apple's release, and those of Apple's training code.

Ours are the release's for all that is kept after pre-training. What was read:

- apple/ml-aim, aim-v1/aim/v1/torch/models.py and layers.py: `preprocessor.patchifier.{proj,norm}`,
  `trunk.blocks.N.{norm_1,norm_2,attn.qkv,attn.proj,mlp.fc1,mlp.fc2}`, `trunk.post_trunk_norm`. Its
  `head` is the probe. The position code is computed, never stored, and one attention class keeps
  its mask as a buffer. Loading is strict (aim-v1/aim/v1/utils.py), so a released file has them all.
- apple/ml-l3m, configs/aimv1/001_aim_v1_600M.yaml and src/l3m/model/: meta_models.py (the four
  parts of a model), utils.py (`MultiBlock`, which puts `blocks.0.` into the preprocessor's names),
  preprocessors/vision.py, trunks/transformer.py, heads/simple_decoder.py (`head.decoder_*`). Of
  layers/attention.py the config takes `GenericAttention` with `q_proj`, `k_proj`, `v_proj`; other
  classes there have a fused `qkv`. Position codes are frozen parameters, so they are stored.
"""

import re
from collections.abc import Collection
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Origin = Literal["headrace", "ml-aim", "ml-l3m"]

BACKBONE = ("preprocessor.patchifier.", "trunk.")
"""What names begin with that are kept after pre-training."""

HEAD = "pixel_head."
"""What names of what predicts begin with; ours alone, as `head` is the release's probe."""

POSITIONS = ("preprocessor.pos_embed", "pixel_head.decoder_pos_embed")
"""The position codes that the training code stores, after renaming."""

_WRAPPERS = re.compile(r"^module\.|\b(?:_orig_mod|_checkpoint_wrapped_module)\.")
"""What data parallelism, torch.compile and recomputation put into names."""

_TRAINING = re.compile(r"\.attn\.[qkv]_proj\.|^preprocessor\.blocks\.|^head\.decoder_")
"""Names that only the training code has."""

_UNUSED = re.compile(r"^head\.(?:[kv]|linear|bn)\.|^head\.cls_token$|\.attn\.attn_mask$")
"""The release's probe, and masks."""

_THIRD = re.compile(r"(.*\.attn\.)([qkv])_proj(\.weight)")


class Translated(NamedTuple):
    """Tensors of a file under our names."""

    origin: Origin
    tensors: dict[str, Tensor]
    positions: dict[str, Tensor]
    """Position codes by name, of `POSITIONS`; we compute ours."""
    unused: tuple[str, ...]
    """Names that were left out, as the file has them."""


def is_backbone(name: str) -> bool:
    """Whether a parameter of ours is kept after pre-training."""
    return name.startswith(BACKBONE)


def origin_of(names: Collection[str]) -> Origin:
    """Whose names these are. A lone backbone of ours reads as the release's: the names are equal.

    So does one of the training code with a fused qkv and a plain preprocessor.
    """
    if any(name.startswith(HEAD) for name in names):
        return "headrace"
    return "ml-l3m" if any(_TRAINING.search(name) for name in names) else "ml-aim"


def renamed(name: str) -> str | None:
    """Our name of a tensor, without wrappers; None for what we have no use for.

    Of the training code's separate q, k and v it leaves the names for `fused`.
    """
    name = _WRAPPERS.sub("", name)
    if _UNUSED.search(name):
        return None
    name = re.sub(r"^preprocessor\.blocks\.\d+\.", "preprocessor.", name)
    return re.sub(r"^head\.decoder_", "pixel_head.decoder_", name)


def fused(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with each whole q, k, v as one `qkv`, whose rows are all of q, then k, then v."""
    found = [match for match in map(_THIRD.fullmatch, tensors) if match]
    whole: dict[str, Tensor] = {}
    for start, end in dict.fromkeys((match[1], match[3]) for match in found):
        parts = [f"{start}{letter}_proj{end}" for letter in "qkv"]
        if all(part in tensors for part in parts):
            whole[f"{start}qkv{end}"] = torch.cat([tensors[part] for part in parts])
            tensors = {name: value for name, value in tensors.items() if name not in parts}
    return tensors | whole


def translate(tensors: dict[str, Tensor]) -> Translated:
    """Tensors of any of the three under our names. Names of none of them stay as they are."""
    ours: dict[str, Tensor] = {}
    unused = []
    for name, value in tensors.items():
        new = renamed(name)
        if new is None:
            unused.append(name)
        else:
            ours[new] = value
    positions = {name: ours.pop(name) for name in POSITIONS if name in ours}
    origin = origin_of([_WRAPPERS.sub("", name) for name in tensors])
    return Translated(origin, fused(ours), positions, tuple(unused))
