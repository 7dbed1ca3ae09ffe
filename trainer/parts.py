"""Micro-batches: some slots of every lane, so that all ranks take as many parts."""

import torch
from torch import Tensor


def micro_batches(depth: int, count: int) -> list[slice]:
    """The slots of each part, alike in every lane.

    Raises ValueError if the parts do not share the `depth` slots of a lane evenly.
    """
    if depth % count:
        raise ValueError(f"{count} micro-batches do not share {depth} slots of a lane")
    size = depth // count
    return [slice(n * size, (n + 1) * size) for n in range(count)]


def part_of(values: Tensor, depth: int, part: slice) -> Tensor:
    """These slots of every lane, of (lanes · depth, ...); a view where it can be."""
    return values.unflatten(0, (-1, depth))[:, part].flatten(0, 1)


def together(parts: list[Tensor], depth: int) -> Tensor:
    """The inverse: (lanes · depth, ...) from what the parts gave, in their order."""
    size = depth // len(parts)
    return torch.cat([part.unflatten(0, (-1, size)) for part in parts], dim=1).flatten(0, 1)
