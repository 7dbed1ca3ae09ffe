"""From a record to pixels in their place in the batch, and what replaces a damaged sample."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from pipeline.format.errors import HeadraceError
from pipeline.format.images import ImageError, open_image, orientation, to_rgb
from trainer.stream.augment import (
    AugmentConfig,
    Draws,
    Pixels,
    RandConfig,
    augment,
    random_box,
)
from trainer.stream.bad import Bad
from trainer.stream.keyed import base_key, below, mix
from trainer.stream.source import Record, Source

ATTEMPTS = 100
"""Replacements tried for one sample: if all are bad, so is the source."""


@dataclass(frozen=True)
class Planned:
    """One slot's sample: what to deliver, and the bytes planned for it."""

    source: Source
    epoch: int
    record: Record


@dataclass(frozen=True)
class Delivered:
    """What a slot really got, besides its pixels."""

    key: str
    caption: str
    bad: Bad | None = None
    """What was planned, if that is damaged."""


@dataclass(frozen=True)
class Filled:
    """Some neighbouring slots of a batch, done."""

    delivered: list[Delivered]
    at: float
    """When, by `time.monotonic`."""


def fill(
    out: Pixels, planned: Sequence[Planned], draws: Draws, seed: int, config: AugmentConfig
) -> Filled:
    """Delivers records into `out`, (n, size, size, 3); see `deliver`."""
    rows = zip(out, planned, draws, strict=True)
    delivered = [deliver(*row, seed, config) for row in rows]
    return Filled(delivered, time.monotonic())


def deliver(
    out: Pixels, planned: Planned, draws: Draws, seed: int, config: AugmentConfig
) -> Delivered:
    """Decodes and crops a record into `out`; a damaged one is replaced by the first good one of
    a sequence, which is keyed by the sample, so that every run replaces it alike.

    Raises HeadraceError if a shard cannot be read, or if nothing good is found.
    """
    record, reason = planned.record, ""
    for attempt in range(ATTEMPTS):
        try:
            record = _crop_into(out, planned.source, record, draws, config)
        except ImageError as error:
            reason = reason or str(error)
            record = _replacement(planned, seed, attempt)
        else:
            if config.rand:
                _rand_into(out, planned, seed, config.rand)
            caption = record.text.decode(errors="replace")
            return Delivered(record.key, caption, _bad(planned, reason, record) if reason else None)
    raise HeadraceError(
        f"{planned.source.shards.label}: {ATTEMPTS} samples in a row cannot be decoded; "
        "the dataset is damaged"
    )


def _crop_into(
    out: Pixels, source: Source, record: Record, draws: Draws, config: AugmentConfig
) -> Record:
    """Crops a record into `out`; a damaged one is read again. Returns what was cropped.

    Raises ImageError if it is damaged indeed; see `Source.again`.
    """
    try:
        out[:] = crop(record, len(out), draws, config)
    except ImageError:
        record = source.again(record.sample, _is_damaged)
        out[:] = crop(record, len(out), draws, config)
    return record


def _rand_into(out: Pixels, planned: Planned, seed: int, config: RandConfig) -> None:
    """Changes a crop by the draws of its slot, also where another sample stands in."""
    from trainer.stream.randaugment import rand_augment, rand_draws  # loads timm: only who asks

    named = (planned.source.name, planned.epoch, planned.record.sample)
    out[:] = rand_augment(out, rand_draws(*named, seed, config.count), config)


def crop(record: Record, size: int, draws: Draws, config: AugmentConfig) -> Pixels:
    """The crop of a record, (size, size, 3). Raises ImageError if it is damaged."""
    image = _open(record)
    if not config.draft or image.format != "JPEG" or orientation(image) != 1:
        return augment(to_rgb(image), size, draws, config)
    full = image.size
    scale = _draft(image, size, draws, config)
    return augment(to_rgb(image), size, draws, config, full, scale)


def decode_record(record: Record) -> Image.Image:
    """The RGB image of a record. Raises ImageError if it is damaged, or not the record's."""
    return to_rgb(_open(record))


def _open(record: Record) -> Image.Image:
    if record.fault:
        raise ImageError(record.fault)
    return open_image(record.image)


def _is_damaged(record: Record) -> bool:
    try:
        decode_record(record)
    except ImageError:
        return True
    return False


def _draft(image: Image.Image, size: int, draws: Draws, config: AugmentConfig) -> float:
    """Has a JPEG decoded at 1/2, 1/4 or 1/8 where its crop still has `size` pixels each way.

    Returns that scale. Not for one that EXIF turns: the box is of the upright image.
    """
    left, top, right, bottom = random_box(*image.size, draws[1:], config)
    width = math.ceil(image.width * size / (right - left))
    height = math.ceil(image.height * size / (bottom - top))
    full = image.width
    drafted = image.draft(None, (width, height))
    return drafted[1][2] / full if drafted else 1


def _bad(planned: Planned, reason: str, instead: Record) -> Bad:
    record = planned.record
    name, place = planned.source.name, (record.url, record.key, record.offset)
    return Bad(name, record.sample, *place, reason, instead.key)


def _replacement(planned: Planned, seed: int, attempt: int) -> Record:
    source, sample = planned.source, planned.record.sample
    key = mix(base_key(seed, "replace", source.name), planned.epoch, sample, attempt)
    return source.records(int(below(key, len(source))[0]), 1)[0]
