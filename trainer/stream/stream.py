"""The stream: batches whose content is a pure function of (mixture, seed, step)."""

import logging
import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, Field, PositiveInt, model_validator
from torch import Tensor

from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import Mixture, read_mixture
from pipeline.format.mixture import Source as MixtureSource
from pipeline.format.snapshot import read_snapshot
from trainer.stream import digest
from trainer.stream.augment import AugmentConfig, Pixels
from trainer.stream.order import default_block
from trainer.stream.plan import PlannedSource, Slots, StreamPlan, lanes_of_rank
from trainer.stream.reader import BlockReader, Delivered, deliver
from trainer.stream.source import Source

log = logging.getLogger(__name__)


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

    block: PositiveInt | dict[str, PositiveInt] | None = None
    """Samples read together: 1 for a set on local disk, up to 256 from a store (the default).
    One number for all sources, or by source name."""

    augment: AugmentConfig = AugmentConfig()
    """Crops and flips."""

    threads: int = Field(default=2, gt=0)
    """Threads of one rank that decode. Changes no batch."""

    reads: int = Field(default=8, gt=0)
    """Blocks of one rank that are read at once. Changes no batch."""

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

    Its whole state is the number of the next step; `digest` is of what was delivered since the
    start or the load. Use it as a context manager, which stops its threads.
    """

    def __init__(
        self, mixture: Mixture | str, config: StreamConfig, rank: int = 0, world_size: int = 1
    ) -> None:
        """Opens the sources of a mixture, or of the mixture at a URL.

        Raises HeadraceError if a source is missing, empty or not the size that the mixture says,
        or if ranks outnumber lanes.
        """
        if isinstance(mixture, str):
            mixture = read_mixture(mixture)
        if not 0 <= rank < world_size:
            raise ValueError(f"no rank {rank} in a world of {world_size}")
        if world_size > config.lanes:
            raise HeadraceError(
                f"stream.lanes: {config.lanes} lanes cannot feed {world_size} ranks; "
                "a lane belongs to one rank, so use at least as many lanes as ranks"
            )
        self.config, self.next_step, self.digest = config, 0, 0
        self._sources = [_open(source) for source in mixture.sources]
        self.names = [source.name for source in self._sources]
        _check_names(self.names, config)
        planned = [
            PlannedSource(s.name, len(source), s.weight, self._block(source))
            for s, source in zip(mixture.sources, self._sources, strict=True)
        ]
        self.plan = StreamPlan(planned, config.seed, config.batch, config.lanes)
        self.lanes = lanes_of_rank(rank, world_size, config.lanes)
        self.identity = _identity(planned, self._sources, config)
        # One thread keeps the order of the batches; it waits for blocks, never for decoding.
        self._fetch = ThreadPoolExecutor(1, "stream-fetch")
        self._read = ThreadPoolExecutor(config.reads, "stream-read")
        self._decode = ThreadPoolExecutor(config.threads, "stream-decode")

    def _block(self, source: Source) -> int:
        block = self.config.block
        chosen = block.get(source.name) if isinstance(block, dict) else block
        return chosen or default_block(len(source), self.config.lanes)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops the threads; batches on their way are given up."""
        for pool in (self._fetch, self._read, self._decode):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._fetch, self._read, self._decode):
            pool.shutdown()

    def __iter__(self) -> Iterator[Batch]:
        """Endless. Raises HeadraceError where a shard cannot be read: nothing is skipped.

        After an error, or a `load_state_dict`, iterate anew: it begins at the next step.
        """
        reader = BlockReader(self._sources, self._read)
        ahead: deque[Future[Making]] = deque()
        planned = self.next_step
        try:
            while True:
                while len(ahead) < self.config.read_ahead:
                    ahead.append(self._fetch.submit(self._make, reader, planned))
                    planned += 1
                batch = _finish(ahead.popleft().result())
                self.next_step = batch.step + 1
                self.digest = digest.total([self.digest, *self._hashes(batch)])
                self._log_replaced(batch)
                yield batch
        finally:
            for future in ahead:
                future.cancel()

    def _make(self, reader: BlockReader, step: int) -> "Making":
        """Reads a step's bytes and sets its decoding going."""
        slots, config = self.plan.slots(step, self.lanes), self.config
        made = [
            self._decode.submit(deliver, one, config.image_size, config.seed, config.augment)
            for one in reader.records(slots)
        ]
        return Making(step, slots, made)

    def _log_replaced(self, batch: Batch) -> None:
        for planned, delivered in batch.replaced:
            log.warning("step %d: sample %d replaced by %s", batch.step, planned, delivered)

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
        """The next iteration begins at the saved step, its digest at zero.

        Raises HeadraceError if the state is of another stream.
        """
        changed = differences(state["identity"], self.identity)
        if changed:
            raise HeadraceError(
                "the saved state is of another stream: " + "; ".join(changed) + "; a resume must "
                "read what the run began with"
            )
        self.next_step, self.digest = state["step"], 0

    def peak_bytes(self) -> int:
        """What open blocks may hold on this rank: two a lane and source while one is replaced."""
        sizes = (s.sample_bytes * self._block(s) for s in self._sources)
        return math.ceil(2 * len(self.lanes) * sum(sizes))


def _open(described: MixtureSource) -> Source:
    snapshot, name = read_snapshot(described.snapshot), described.name
    if not snapshot.samples:
        raise HeadraceError(
            f"{snapshot.url}: source {name!r} has no samples; keep more, or leave it out"
        )
    if snapshot.samples != described.samples:
        raise HeadraceError(
            f"{snapshot.url}: holds {snapshot.samples} samples, the mixture says "
            f"{described.samples} of source {name!r}; mix it again, or restore it"
        )
    return Source(name, snapshot)


def _check_names(names: list[str], config: StreamConfig) -> None:
    """Names key the randomness: two sources of one name would be drawn in one order."""
    if len(set(names)) != len(names):
        raise HeadraceError(f"mixture: source names {names} repeat; give each its own")
    unknown = set(config.block) - set(names) if isinstance(config.block, dict) else set()
    if unknown:
        raise HeadraceError(f"stream.block: no source {sorted(unknown)}; there are {names}")


def _identity(
    planned: list[PlannedSource], sources: list[Source], config: StreamConfig
) -> dict[str, Any]:
    """Everything that a batch depends on. The block is the one chosen, whatever chose it."""
    fields = config.model_dump(mode="json", exclude={"threads", "reads", "read_ahead", "block"})
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


@dataclass(frozen=True)
class Making:
    """A batch on its way: its samples are being decoded."""

    step: int
    slots: Slots
    made: list[Future[Delivered]]


def _finish(making: Making) -> Batch:
    """Waits for the pixels. Raises what a thread raised."""
    return _batch(making.step, making.slots, [one.result() for one in making.made])


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
