"""From planned slots to pixels: open blocks, decoding, and what replaces a damaged sample."""

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

    def __init__(self, sources: list[Source]) -> None:
        self.sources = sources
        self._open: dict[tuple[int, int], tuple[Block, dict[int, Record]]] = {}

    def records(self, slots: Slots) -> list[Planned]:
        """The planned records of some slots, in their order."""
        columns = (slots.lane, slots.source, *slots.places)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        planned = []
        for lane, source, epoch, sample, start, length in rows:
            block = self._block(lane, source, (epoch, start, length))
            planned.append(Planned(self.sources[source], epoch, block[sample]))
        return planned

    def _block(self, lane: int, source: int, name: Block) -> dict[int, Record]:
        held_name, held = self._open.get((source, lane), (None, {}))
        if held_name != name:
            _, start, length = name
            held = {record.sample: record for record in self.sources[source].read(start, length)}
            self._open[source, lane] = name, held
        return held


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
