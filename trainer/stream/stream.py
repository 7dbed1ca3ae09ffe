"""The stream: batches whose content is a pure function of (mixture, seed, step)."""

import logging
import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from pipeline.format.errors import HeadraceError
from trainer.stream import digest
from trainer.stream.augment import crop_draws
from trainer.stream.batch import Batch, Making, finish
from trainer.stream.config import StreamConfig
from trainer.stream.identity import changed_shards, differences, identity_of, shard_prints
from trainer.stream.opening import Named, open_all
from trainer.stream.order import default_block
from trainer.stream.plan import PlannedSource, StreamPlan, lanes_of_rank
from trainer.stream.reader import BlockReader, deliver
from trainer.stream.source import Source

log = logging.getLogger(__name__)


class Stream:
    """Iterates over one rank's batches, from the step after the one that was loaded.

    Its whole state is the number of the next step; `digest` is of what was delivered since the
    start or the load. Use it as a context manager, which stops its threads.
    """

    def __init__(
        self, named: Named, config: StreamConfig, rank: int = 0, world_size: int = 1
    ) -> None:
        """Opens a snapshot or mixture by its URL, or sources by name; see `opening.Named`.

        Raises HeadraceError if a source cannot be opened, or if ranks outnumber lanes.
        """
        if not 0 <= rank < world_size:
            raise ValueError(f"no rank {rank} in a world of {world_size}")
        if world_size > config.lanes:
            raise HeadraceError(
                f"stream.lanes: {config.lanes} lanes cannot feed {world_size} ranks; "
                "a lane belongs to one rank, so use at least as many lanes as ranks"
            )
        self.config, self.next_step, self.digest = config, 0, 0
        folder = config.cache.folder if config.cache else None
        opened = open_all(named, folder, config.patience)
        self.names = [name for name, _, _ in opened]
        _check_blocks(config, self.names)
        self._sources = [Source(name, shards, config.patience) for name, _, shards in opened]
        planned = [
            PlannedSource(source.name, len(source), weight, self._block(source))
            for (_, weight, _), source in zip(opened, self._sources, strict=True)
        ]
        self.plan = StreamPlan(planned, config.seed, config.batch, config.lanes)
        self.lanes = lanes_of_rank(rank, world_size, config.lanes)
        self.identity = identity_of(planned, self._sources, config)
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
                batch = finish(ahead.popleft().result())
                self.next_step = batch.step + 1
                self.digest = digest.total([self.digest, *self._hashes(batch)])
                _log_bad(batch)
                yield batch
        finally:
            for future in ahead:
                future.cancel()

    def _make(self, reader: BlockReader, step: int) -> Making:
        """Reads a step's bytes and sets its decoding going."""
        slots, config = self.plan.slots(step, self.lanes), self.config
        drawn = crop_draws(slots, self.names, config.seed)
        rest = (config.image_size, config.seed, config.augment)
        made = [
            self._decode.submit(deliver, one, draws, *rest)
            for one, draws in zip(reader.records(slots), drawn, strict=True)
        ]
        return Making(step, slots, made)

    def _hashes(self, batch: Batch) -> list[int]:
        columns = (batch.lanes, batch.slots, batch.sources, batch.epochs)
        rows = zip(*(column.tolist() for column in columns), batch.keys, strict=True)
        return [
            digest.sample_hash(batch.step, lane, slot, self.names[source], epoch, key)
            for lane, slot, source, epoch, key in rows
        ]

    def state_dict(self) -> dict[str, Any]:
        """The number of the next step, and what the stream is a function of besides.

        `shards` tells which shards changed, where the identity only tells that some did.
        """
        shards = shard_prints(self._sources)
        return {"step": self.next_step, "identity": self.identity, "shards": shards}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The next iteration begins at the saved step, its digest at zero.

        Raises HeadraceError if the state is of another stream.
        """
        shards = changed_shards(state.get("shards", {}), self._sources)
        changed = shards or differences(state["identity"], self.identity)
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


def _log_bad(batch: Batch) -> None:
    for bad in batch.bad:
        log.warning(
            "step %d: sample %d of %s (%s, %s): %s; %s stands in for it",
            *(batch.step, bad.sample, bad.source, bad.url, bad.key, bad.reason, bad.instead),
        )


def _check_blocks(config: StreamConfig, names: list[str]) -> None:
    unknown = set(config.block) - set(names) if isinstance(config.block, dict) else set()
    if unknown:
        raise HeadraceError(f"stream.block: no source {sorted(unknown)}; there are {names}")
