"""From planned slots to pixels: open blocks, decoding, and what replaces a damaged sample."""

from concurrent.futures import Executor, Future
from dataclasses import dataclass

from pipeline.format.errors import HeadraceError
from pipeline.format.images import ImageError, decode
from trainer.stream.augment import AugmentConfig, Pixels, augment
from trainer.stream.keyed import base_key, below, mix
from trainer.stream.plan import Slots
from trainer.stream.source import Record, Source

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


class BlockReader:
    """Keeps one block open for each source and lane, and reads the next when it is due."""

    def __init__(self, sources: list[Source], pool: Executor) -> None:
        self.sources, self.pool = sources, pool
        self._open: dict[tuple[int, int], tuple[Block, Future[dict[int, Record]]]] = {}

    def records(self, slots: Slots) -> list[Planned]:
        """The planned records of some slots, in their order; new blocks are read side by side."""
        columns = (slots.lane, slots.source, *slots.places)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        due = [
            (self.sources[source], epoch, sample, self._block(lane, source, (epoch, start, length)))
            for lane, source, epoch, sample, start, length in rows
        ]
        return [
            Planned(source, epoch, block.result()[sample]) for source, epoch, sample, block in due
        ]

    def _block(self, lane: int, source: int, name: Block) -> Future[dict[int, Record]]:
        held = self._open.get((source, lane))
        if held is None or held[0] != name:
            held = name, self.pool.submit(_read, self.sources[source], *name[1:])
            self._open[source, lane] = held
        return held[1]


def _read(source: Source, start: int, length: int) -> dict[int, Record]:
    return {record.sample: record for record in source.read(start, length)}


def deliver(planned: Planned, size: int, seed: int, config: AugmentConfig) -> Delivered:
    """Decodes and crops a record; a damaged one is replaced by the first good one of a sequence.

    The sequence is keyed by the sample, so every run replaces it alike. Raises HeadraceError if
    a shard cannot be read, or if nothing good is found.
    """
    source, epoch, record = planned.source, planned.epoch, planned.record
    key = mix(base_key(seed, "augment", source.name), epoch, record.sample)[0]
    for attempt in range(ATTEMPTS):
        try:
            return Delivered(augment(decode(record.image), size, int(key), config), record)
        except ImageError:
            record = _replacement(planned, seed, attempt)
    raise HeadraceError(
        f"{source.snapshot.url}: {ATTEMPTS} samples in a row cannot be decoded; "
        "the dataset is damaged"
    )


def _replacement(planned: Planned, seed: int, attempt: int) -> Record:
    source, sample = planned.source, planned.record.sample
    key = mix(base_key(seed, "replace", source.name), planned.epoch, sample, attempt)
    return source.read(int(below(key, len(source))[0]), 1)[0]
