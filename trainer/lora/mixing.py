"""Mixup and random erasing, drawn by (seed, step, lane, slot): alike on any number of ranks.

An image is mixed with the next one of its lane, which the same rank holds.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.stream.batch import Batch
from trainer.stream.keyed import Words, base_key, mix, uniforms

AREA = (0.02, 0.4)
RATIO = (0.3, 1 / 0.3)
"""Share of the image in a box, and its height over its width (random erasing, arXiv 1708.04896,
from memory). Ratios are drawn evenly in their logarithm, so that tall is as likely as broad."""


def partners(batch: Batch, depth: int) -> Tensor:
    """The row of each image's neighbour, the next slot of its lane or, after the last, its first:
    int64 (n,). `depth` is the slots of a lane."""
    rows = torch.arange(len(batch.slots))
    return rows - batch.slots + (batch.slots + 1) % depth


def shares(batch: Batch, seed: int, alpha: float | None) -> Tensor:
    """How much of each image is its own, float32 (n,): from Beta(alpha, alpha); 1 without it."""
    if alpha is None:
        return torch.ones(len(batch.slots))
    keys = _keys(batch, seed, "mixup").tolist()
    drawn = [np.random.Generator(np.random.Philox(key=key)).beta(alpha, alpha) for key in keys]
    return torch.tensor(drawn, dtype=torch.float32)


def boxes(batch: Batch, seed: int, probability: float, size: int) -> Tensor:
    """Top, left, bottom and right of what is erased of each image: int64 (n, 4), empty if nothing.

    A box that is longer than the image is as long as it.
    """
    drawn = uniforms(_keys(batch, seed, "erasing"), 5)
    erased, area, ratio, top, left = drawn.T
    area = size**2 * (AREA[0] + area * (AREA[1] - AREA[0]))
    ratio = np.exp(math.log(RATIO[0]) + ratio * math.log(RATIO[1] / RATIO[0]))
    lengths = np.stack([_within(np.sqrt(area * ratio), size), _within(np.sqrt(area / ratio), size)])
    lengths *= erased < probability
    begins = (np.stack([top, left]) * (size - lengths + 1)).astype(np.int64)
    return torch.from_numpy(np.concatenate([begins, begins + lengths]).T.copy())


def erase(images: Tensor, boxes: Tensor) -> Tensor:
    """(n, 3, size, size) with zeros, the mean of normalised pixels, in each image's box."""
    place = torch.arange(images.shape[2], device=images.device)
    top, left, bottom, right = (edge[:, None] for edge in boxes.unbind(1))
    rows, columns = (place >= top) & (place < bottom), (place >= left) & (place < right)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def _within(length: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.int64]:
    return length.round().clip(1, size).astype(np.int64)


def _keys(batch: Batch, seed: int, purpose: str) -> Words:
    lanes, slots = batch.lanes.numpy(), batch.slots.numpy()
    return mix(base_key(seed, purpose), batch.step, lanes, slots)
