"""Batches: what a stream yields."""

from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.stream.augment import Pixels
from trainer.stream.bad import Bad
from trainer.stream.plan import Slots
from trainer.stream.reader import Delivered


@dataclass(frozen=True)
class Batch:
    """This rank's part of a step, ordered by lane, then slot."""

    step: int
    images: Tensor
    """uint8 (n, 3, size, size)."""
    lanes: Tensor
    """int64 (n,)."""
    slots: Tensor
    """int64 (n,), place in the lane at this step."""
    sources: Tensor
    """int64 (n,), index into the mixture's sources."""
    epochs: Tensor
    """int64 (n,), of the sample's own source."""
    samples: Tensor
    """int64 (n,), planned sample numbers; -1 pads a last validation batch."""
    keys: list[str]
    """Delivered, as read from the tar members."""
    captions: list[str]
    bad: list[Bad]
    """Planned samples that are damaged, in the order of their slots; others stand in for them."""


@dataclass(frozen=True)
class Making:
    """A batch on its way: its samples are being decoded."""

    step: int
    slots: Slots
    made: list[Future[Delivered]]


def finish(making: Making) -> Batch:
    """Waits for the pixels. Raises what a thread raised."""
    return _batch(making.step, making.slots, [one.result() for one in making.made])


def _batch(step: int, slots: Slots, made: list[Delivered]) -> Batch:
    return Batch(
        step=step,
        images=to_tensor([one.pixels for one in made]),
        lanes=torch.from_numpy(slots.lane),
        slots=torch.from_numpy(slots.slot),
        sources=torch.from_numpy(slots.source),
        epochs=torch.from_numpy(slots.places.epoch),
        samples=torch.from_numpy(slots.places.sample),
        keys=[one.record.key for one in made],
        captions=[one.record.text.decode(errors="replace") for one in made],
        bad=[one.bad for one in made if one.bad],
    )


def to_tensor(pixels: list[Pixels]) -> Tensor:
    """(size, size, 3) arrays to one contiguous (n, 3, size, size) tensor."""
    return torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).copy())
