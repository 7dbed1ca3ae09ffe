"""The stream: batches whose content is a pure function of (mixture, seed, step)."""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor

from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import Mixture
from pipeline.format.snapshot import read_snapshot
from trainer.stream import digest
from trainer.stream.augment import AugmentConfig, Pixels
from trainer.stream.order import default_block
from trainer.stream.plan import PlannedSource, Slots, StreamPlan, lanes_of_rank
from trainer.stream.reader import BlockReader, Delivered, deliver
from trainer.stream.source import Source


class StreamConfig(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """The shape of the batches and the keys of their randomness."""

    batch: int = Field(gt=0)
    """Images in a step over all ranks; a multiple of `lanes`."""

    lanes: int = Field(gt=0)
    """Independent readers. Any number of ranks up to it reads the same batches."""

    image_size: int = Field(gt=0)
    """Side of the crops, in pixels."""

    seed: int = 0
    """Of the order and of the crops."""

    block: int | None = Field(default=None, gt=0)
    """Samples read together: 1 for a set on local disk, up to 256 from a store (the default)."""

    augment: AugmentConfig = AugmentConfig()
    """Crops and flips."""

    threads: int = Field(default=2, gt=0)
    """Threads of one rank that decode. Changes no batch."""

    read_ahead: int = Field(default=4, gt=0)
    """Batches of one rank that are made in advance. Changes no batch."""

    @model_validator(mode="after")
    def _lanes_share_the_batch(self) -> "StreamConfig":
        if self.batch % self.lanes:
            raise ValueError(f"batch {self.batch} is not a multiple of lanes {self.lanes}")
        return self


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
    replaced: list[tuple[int, str]]
    """(planned sample, delivered key) of each damaged sample."""


class Stream:
    """Iterates over one rank's batches, from the step after the one that was loaded.

    Its whole state is the number of the next step. Use it as a context manager, which stops its
    threads.
    """

    def __init__(
        self, mixture: Mixture, config: StreamConfig, rank: int = 0, world_size: int = 1
    ) -> None:
        """Opens the sources.

        Raises HeadraceError if one is missing or empty, or if ranks outnumber lanes.
        """
        if world_size > config.lanes:
            raise HeadraceError(
                f"stream.lanes: {config.lanes} lanes cannot feed {world_size} ranks; "
                "a lane belongs to one rank, so use at least as many lanes as ranks"
            )
        self.config, self.next_step, self.digest = config, 0, 0
        self._sources = [_open(s.name, s.snapshot) for s in mixture.sources]
        self.names = [source.name for source in self._sources]
        planned = [
            PlannedSource(s.name, len(source), s.weight, self._block(len(source)))
            for s, source in zip(mixture.sources, self._sources, strict=True)
        ]
        self.plan = StreamPlan(planned, config.seed, config.batch, config.lanes)
        self.lanes = lanes_of_rank(rank, world_size, config.lanes)
        self.identity = _identity(planned, self._sources, config)
        self._fetch = ThreadPoolExecutor(1, "stream-fetch")
        self._decode = ThreadPoolExecutor(config.threads, "stream-decode")

    def _block(self, samples: int) -> int:
        return self.config.block or default_block(samples, self.config.lanes)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exception: object) -> None:
        for pool in (self._fetch, self._decode):
            pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[Batch]:
        """Endless. Raises HeadraceError where a shard cannot be read: nothing is skipped."""
        reader = BlockReader(self._sources)
        ahead: deque[Future[Batch]] = deque()
        planned = self.next_step
        while True:
            while len(ahead) < self.config.read_ahead:
                ahead.append(self._fetch.submit(self._make, reader, planned))
                planned += 1
            batch = ahead.popleft().result()
            self.next_step = batch.step + 1
            self.digest = digest.total([self.digest, *self._hashes(batch)])
            yield batch

    def _make(self, reader: BlockReader, step: int) -> Batch:
        slots = self.plan.slots(step, self.lanes)
        records = reader.records(slots)
        config = self.config
        made = self._decode.map(
            lambda record: deliver(record, config.image_size, config.seed, config.augment), records
        )
        return _batch(step, slots, list(made))

    def _hashes(self, batch: Batch) -> list[int]:
        columns = (batch.lanes, batch.slots, batch.sources, batch.epochs)
        rows = zip(*(column.tolist() for column in columns), batch.keys, strict=True)
        return [
            digest.sample_hash(batch.step, lane, slot, self.names[source], epoch, key)
            for lane, slot, source, epoch, key in rows
        ]

    def state_dict(self) -> dict[str, Any]:
        """The number of the next step, and what the stream is a function of besides."""
        return {"step": self.next_step, "identity": self.identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues at the saved step. Raises HeadraceError if this is another stream."""
        changed = differences(state["identity"], self.identity)
        if changed:
            raise HeadraceError(
                "the saved state is of another stream: " + "; ".join(changed) + "; a resume must "
                "read what the run began with"
            )
        self.next_step = state["step"]

    def peak_bytes(self) -> int:
        """What open blocks may hold on this rank: two a lane and source while one is replaced."""
        sizes = (s.sample_bytes * self._block(len(s)) for s in self._sources)
        return math.ceil(2 * len(self.lanes) * sum(sizes))


def _open(name: str, url: str) -> Source:
    snapshot = read_snapshot(url)
    if not snapshot.samples:
        raise HeadraceError(
            f"{snapshot.url}: source {name!r} has no samples; keep more, or leave it out"
        )
    return Source(name, snapshot)


def _identity(
    planned: list[PlannedSource], sources: list[Source], config: StreamConfig
) -> dict[str, Any]:
    fields = config.model_dump(mode="json", exclude={"threads", "read_ahead", "block"})
    fields["sources"] = [source.name for source in sources]  # ties in the mixing word go by place
    for described, source in zip(planned, sources, strict=True):
        fields[f"source {described.name}"] = {
            "snapshot": source.snapshot.id,
            "samples": described.samples,
            "weight": described.weight,
            "block": described.block,
        }
    return fields


def differences(saved: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two identities, in words."""
    return [
        f"{name} was {saved.get(name, 'absent')}, now {now.get(name, 'absent')}"
        for name in sorted(saved.keys() | now.keys())
        if saved.get(name) != now.get(name)
    ]


def _batch(step: int, slots: Slots, made: list[Delivered]) -> Batch:
    planned = slots.places.sample.tolist()
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
        replaced=[
            (sample, one.record.key)
            for sample, one in zip(planned, made, strict=True)
            if one.record.sample != sample
        ],
    )


def to_tensor(pixels: list[Pixels]) -> Tensor:
    """(size, size, 3) arrays to one contiguous (n, 3, size, size) tensor."""
    return torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).copy())
