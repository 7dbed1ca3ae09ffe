"""From planned slots to pixels: open blocks, decoding, and what replaces a damaged sample."""

from concurrent.futures import Executor, Future
from dataclasses import dataclass

from PIL import Image

from pipeline.format.errors import HeadraceError
from pipeline.format.images import ImageError, decode
from trainer.stream.augment import AugmentConfig, Draws, Pixels, augment
from trainer.stream.bad import Bad
from trainer.stream.keyed import base_key, below, mix
from trainer.stream.plan import Slots
from trainer.stream.source import Record, Run, Source

ATTEMPTS = 100
"""Replacements tried for one sample: if all are bad, so is the source."""


Block = tuple[int, int, int]
"""Epoch, first sample, samples."""


@dataclass(frozen=True)
class Planned:
    """One slot's sample: what to deliver, and the bytes planned for it."""

    source: Source
    epoch: int
    record: Record


@dataclass(frozen=True)
class Delivered:
    """What a slot really got."""

    pixels: Pixels
    record: Record
    bad: Bad | None = None
    """What was planned, if that is damaged."""


class BlockReader:
    """Keeps one block open for each source and lane, and reads the next when it is due."""

    def __init__(self, sources: list[Source], pool: Executor) -> None:
        self.sources, self.pool = sources, pool
        self._open: dict[tuple[int, int], tuple[Block, Future[list[Run]]]] = {}

    def records(self, slots: Slots) -> list[Planned]:
        """The planned records of some slots, in their order; new blocks are read side by side."""
        places = slots.places
        block = (places.block_start, places.block_length)
        columns = (slots.lane, slots.source, places.epoch, places.sample, *block)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        due = [
            (self.sources[source], epoch, sample, self._block(lane, source, (epoch, start, length)))
            for lane, source, epoch, sample, start, length in rows
        ]
        return [
            Planned(source, epoch, _record(block.result(), sample))
            for source, epoch, sample, block in due
        ]

    def _block(self, lane: int, source: int, name: Block) -> Future[list[Run]]:
        held = self._open.get((source, lane))
        if held is None or held[0] != name:
            held = name, self.pool.submit(self.sources[source].read, *name[1:])
            self._open[source, lane] = held
        return held[1]


def _record(runs: list[Run], sample: int) -> Record:
    return next(run for run in runs if sample in run).record(sample)


def deliver(
    planned: Planned, draws: Draws, size: int, seed: int, config: AugmentConfig
) -> Delivered:
    """Decodes and crops a record; a damaged one is replaced by the first good one of a sequence.

    The sequence is keyed by the sample, so every run replaces it alike. Raises HeadraceError if
    a shard cannot be read, or if nothing good is found.
    """
    record, reason = planned.record, ""
    for attempt in range(ATTEMPTS):
        try:
            pixels = augment(decode_record(record), size, draws, config)
        except ImageError as error:
            reason = reason or str(error)
            record = _replacement(planned, seed, attempt)
        else:
            return Delivered(pixels, record, _bad(planned, reason, record) if reason else None)
    raise HeadraceError(
        f"{planned.source.shards.label}: {ATTEMPTS} samples in a row cannot be decoded; "
        "the dataset is damaged"
    )


def decode_record(record: Record) -> Image.Image:
    """The RGB image of a record. Raises ImageError if it is damaged, or not the record's."""
    if record.fault:
        raise ImageError(record.fault)
    return decode(record.image)


def _bad(planned: Planned, reason: str, instead: Record) -> Bad:
    record = planned.record
    name, place = planned.source.name, (record.url, record.key, record.offset)
    return Bad(name, record.sample, *place, reason, instead.key)


def _replacement(planned: Planned, seed: int, attempt: int) -> Record:
    source, sample = planned.source, planned.record.sample
    key = mix(base_key(seed, "replace", source.name), planned.epoch, sample, attempt)
    return source.records(int(below(key, len(source))[0]), 1)[0]
