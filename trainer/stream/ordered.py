"""A whole snapshot once, in shard order, without chance: what a validation loss is taken on."""

from collections.abc import Iterator

import numpy as np
import torch

from pipeline.format.errors import HeadraceError
from pipeline.format.images import ImageError
from trainer.stream.augment import Pixels, evaluation_view
from trainer.stream.batch import Batch, as_images
from trainer.stream.decode import decode_record
from trainer.stream.source import Record, Source

PADDING = -1
"""The sample number of a slot that only fills a batch."""


def ordered(
    source: Source, size: int, batch: int, rank: int = 0, world_size: int = 1
) -> Iterator[Batch]:
    """This rank's share of the source, as batches of `batch` central crops.

    Every sample is in exactly one batch of one rank; all ranks get the same number of batches,
    the last ones padded with black images whose sample number is PADDING. Raises HeadraceError on
    a damaged sample: a validation set must be whole.
    """
    total = len(source)
    for step, first in enumerate(range(0, total, batch * world_size)):
        begin = min(first + rank * batch, total)
        count = min(batch, total - begin)
        yield _batch(step, source, source.records(begin, count), size, batch)


def _batch(step: int, source: Source, records: list[Record], size: int, batch: int) -> Batch:
    padding = batch - len(records)
    pixels = np.zeros((batch, size, size, 3), np.uint8)  # padding stays black
    for image, record in zip(pixels, records, strict=False):
        image[:] = _view(source, record, size)
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


def _view(source: Source, record: Record, size: int) -> Pixels:
    try:
        return evaluation_view(decode_record(record), size)
    except ImageError as error:
        raise HeadraceError(
            f"{source.shards.label}: validation sample {record.sample} ({record.key}): {error}"
        ) from error
