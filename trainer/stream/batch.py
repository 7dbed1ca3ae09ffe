"""Batches: what a stream yields."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer.stream import digest
from trainer.stream.augment import Pixels
from trainer.stream.bad import Bad
from trainer.stream.decode import Filled
from trainer.stream.plan import Slots


@dataclass(frozen=True)
class Batch:
    """This rank's part of a step, ordered by lane, then slot."""

    step: int
    images: Tensor
    """uint8 (n, 3, size, size), channels last in memory: as images are decoded, and as cards like
    them. `contiguous()` is for those who need the other order."""
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
    digest: int = 0
    """The proof of what was delivered; see digest.py. Batches of a validation have none."""
    fetched: float = field(default=0.0, compare=False)
    """When all of its bytes were read, by `time.monotonic`; see waits.py."""
    decoded: float = field(default=0.0, compare=False)
    """When all of its images were decoded."""


@dataclass(frozen=True)
class Making:
    """A batch on its way: its samples are being decoded."""

    slots: Slots
    """Of one step."""
    images: Pixels
    """(n, size, size, 3), being filled."""
    parts: list[Future[Filled]]
    fetched: float


def finish(making: Making, names: Sequence[str]) -> Batch:
    """Waits for the pixels. `names` are the sources'. Raises what a thread raised."""
    parts = [part.result() for part in making.parts]
    made = [one for part in parts for one in part.delivered]
    slots, step, keys = making.slots, int(making.slots.step[0]), [one.key for one in made]
    sources = [names[source] for source in slots.source.tolist()]
    places = (slots.lane.tolist(), slots.slot.tolist(), sources, slots.places.epoch.tolist())
    return Batch(
        step=step,
        images=as_images(making.images),
        lanes=torch.from_numpy(slots.lane),
        slots=torch.from_numpy(slots.slot),
        sources=torch.from_numpy(slots.source),
        epochs=torch.from_numpy(slots.places.epoch),
        samples=torch.from_numpy(slots.places.sample),
        keys=keys,
        captions=[one.caption for one in made],
        bad=[one.bad for one in made if one.bad],
        digest=digest.step_digest(step, *places, keys),
        fetched=making.fetched,
        decoded=max(part.at for part in parts),
    )


def as_images(pixels: Pixels) -> Tensor:
    """(n, size, size, 3) as it lies in memory, seen as a tensor (n, 3, size, size)."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)
