"""A whole snapshot once, in shard order, without chance: what a validation loss is taken on."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image

from pipeline.format.errors import HeadraceError
from pipeline.format.images import ImageError
from pipeline.format.patience import Patience
from pipeline.format.shards import of_snapshot
from trainer.stream.augment import Pixels, evaluation_view
from trainer.stream.batch import Batch, as_images
from trainer.stream.decode import decode_record
from trainer.stream.opening import to_read
from trainer.stream.source import Record, Source

View = Callable[[Image.Image, int], Pixels]
"""Makes (size, size, 3) of an image."""

PADDING = -1
"""The sample number of a slot that only fills a batch."""


def held_out(url: str, patience: Patience) -> Source:
    """A dataset or snapshot to validate on. Raises HeadraceError if it is none, or is empty, and
    Retired if it was retired."""
    snapshot = to_read(url, patience)
    if not snapshot.samples:
        raise HeadraceError(f"{snapshot.url}: has no samples to take a validation loss on")
    return Source("validation", of_snapshot(snapshot), patience)


def ordered(
    source: Source,
    size: int,
    batch: int,
    rank: int = 0,
    world_size: int = 1,
    view: View = evaluation_view,
) -> Iterator[Batch]:
    """This rank's share of the source, as batches of `batch` views: central crops by default.

    Every sample is in exactly one batch of one rank; all ranks get the same number of batches,
    the last ones padded with black images whose sample number is PADDING. Raises HeadraceError on
    a damaged sample: a validation set must be whole.
    """
    total = len(source)
    for step, first in enumerate(range(0, total, batch * world_size)):
        begin = min(first + rank * batch, total)
        count = min(batch, total - begin)
        yield _batch(step, source, source.records(begin, count), size, batch, view)


def _batch(
    step: int, source: Source, records: list[Record], size: int, batch: int, view: View
) -> Batch:
    padding = batch - len(records)
    pixels = np.zeros((batch, size, size, 3), np.uint8)  # padding stays black
    for image, record in zip(pixels, records, strict=False):
        image[:] = viewed(source, record, size, view)
    numbers = [record.sample for record in records] + [PADDING] * padding
    zeros = torch.zeros(batch, dtype=torch.int64)
    return Batch(
        step=step,
        images=as_images(pixels),
        lanes=zeros,
        slots=torch.arange(batch),
        sources=zeros,
        epochs=zeros,
        samples=torch.tensor(numbers),
        keys=[record.key for record in records] + [""] * padding,
        captions=[record.text.decode(errors="replace") for record in records] + [""] * padding,
        bad=[],
    )


def viewed(source: Source, record: Record, size: int, view: View = evaluation_view) -> Pixels:
    """A sample's view, (size, size, 3) uint8. Raises HeadraceError, which names it, if it is
    damaged."""
    try:
        return view(decode_record(record), size)
    except ImageError as error:
        raise HeadraceError(
            f"{source.shards.label}: sample {record.sample} ({record.key}): {error}; deny this "
            "image and curate again, or restore its shard"
        ) from error
