"""Position codes in foreign files: ours are computed, so a file may only carry the same ones."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.format.errors import HeadraceError
from trainer.model.positions import sincos_2d

TOLERANCE = 0.01
"""Sines of bfloat16 are off by up to 0.004; another code is off by 1 somewhere."""


def patches_of(path: str, positions: Mapping[str, Tensor]) -> int | None:
    """The length of the sequence that the position codes of a file are for; None without codes.

    Raises HeadraceError if one is not the fixed code of a square grid, in our layout.
    """
    lengths = {_length(path, name, code) for name, code in positions.items()}
    if len(lengths) > 1:
        raise HeadraceError(f"{path}: its position codes are for {sorted(lengths)} patches at once")
    return lengths.pop() if lengths else None


def _length(path: str, name: str, code: Tensor) -> int:
    code = code.detach().double()
    length, width = code.shape[-2:] if code.ndim > 1 else (0, 0)
    grid = math.isqrt(length)
    if grid**2 != length or width % 4 or code.numel() != length * width or not length:
        raise HeadraceError(
            f"{path}: {name} has {length} rows of {width}, which is no square grid of patches; "
            "models with a class token or registers cannot be read"
        )
    ours = sincos_2d(width, grid)
    if not _equal(code.view_as(ours), ours):
        raise HeadraceError(f"{path}: {name} {_fault(code.view_as(ours), ours)}")
    return length


def _fault(code: Tensor, ours: Tensor) -> str:
    """Why a code is not ours. At least one port has its halves swapped."""
    if _equal(code, torch.cat(ours.chunk(2, dim=1)[::-1], dim=1)):
        return (
            "has the halves for rows and columns swapped: read here, these weights would take rows "
            "for columns; convert them with the code that they were trained with"
        )
    return "is not the fixed sine-cosine code; learned positions cannot be read"


def _equal(left: Tensor, right: Tensor) -> bool:
    return torch.allclose(left, right, rtol=0, atol=TOLERANCE)
