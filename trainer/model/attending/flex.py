"""FlexAttention: a kernel that torch compiles for this very mask, which it never writes out."""

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

# Uncompiled it would write out the whole matrix. Inside a compiled block this adds nothing.
_compiled = torch.compile(flex_attention, dynamic=False)


def prepare(prefix: Tensor, length: int) -> BlockMask:
    """Which tiles hold something visible; the pairs inside are asked of `prefix`.

    Raises ValueError where a gradient is wanted and the device is not a GPU: torch
    has no backward of it there.
    """
    if prefix.device.type != "cuda" and torch.is_grad_enabled():
        raise ValueError(
            f'kernel "flex" cannot train on {prefix.device.type}, where torch has no backward '
            'of it: use "auto" or "mask"'
        )

    def visible(image: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) | (key < prefix[image])

    return create_block_mask(visible, len(prefix), None, length, length, device=prefix.device)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask) -> Tensor:
    """Half precision or float32, head dims that the compiled kernel takes (16 and up)."""
    return _compiled(q, k, v, block_mask=mask)
