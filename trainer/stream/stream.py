"""The stream: batches whose content is a pure function of (mixture, seed, step)."""

import contextlib
import logging
import weakref
from collections.abc import Generator, Iterator
from typing import Any

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from trainer.stream import digest
from trainer.stream.batch import Batch
from trainer.stream.config import StreamConfig
from trainer.stream.describe import peak_bytes, sources_of
from trainer.stream.identity import changed_shards, differences, identity_of, shard_prints
from trainer.stream.making import batches
from trainer.stream.opening import Named, open_all
from trainer.stream.order import default_block
from trainer.stream.pinned import Pinned
from trainer.stream.plan import PlannedSource, StreamPlan, lanes_of_rank
from trainer.stream.source import Source

log = logging.getLogger(__name__)


class Stream:
    """Iterates over one rank's batches, from the step after the one that was loaded.

    Its whole state is the number of the next step; `digest` is of what was delivered since the
    start or the load. An iteration that is left ends its threads; so does leaving the stream as a
    context manager.
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
        self._pin()
        self._live: weakref.ref[Generator[Batch]] | None = None

    def _block(self, source: Source) -> int:
        block = self.config.block
        chosen = block.get(source.name) if isinstance(block, dict) else block
        return chosen or default_block(len(source), self.config.lanes)

    def _pin(self) -> None:
        """Has sources that are read sample by sample, and lie far away, brought to this node."""
        cache = self.config.cache
        far = [s for s in self._sources if not store.is_local(s.shards.root)]
        single = [source for source in far if self._block(source) == 1]
        pins = (
            Pinned(cache.folder, cache.max_bytes, self.config.patience)
            if cache and single
            else None
        )
        for source in single:
            if pins is None:
                log.warning(
                    "%s: each sample is one request to the store; name a stream.cache, or read by "
                    "blocks",
                    source.shards.label,
                )
                continue
            pins.want(source.shards)
            source.pinned = pins

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the iteration under way, if there is one, and its threads."""
        live = self._live() if self._live else None
        if live:
            live.close()

    def __iter__(self) -> Iterator[Batch]:
        """Endless. Raises HeadraceError where a shard cannot be read: nothing is skipped.

        Its threads end with it: when it is left, fails, is closed, or another one is begun, which
        goes on at the next step.
        """
        self.close()
        live = self._batches()
        self._live = weakref.ref(live)
        return live

    def _batches(self) -> Generator[Batch]:
        made = batches(self.plan, self._sources, self.lanes, self.config, self.next_step)
        with contextlib.closing(made):
            for batch in made:
                self.next_step = batch.step + 1
                self.digest = digest.total([self.digest, *self._hashes(batch)])
                _log_bad(batch)
                yield batch

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

    def describe(self) -> dict[str, Any]:
        """What to print first: `peak_bytes` of this rank by kind, and the `sources` by name.

        See describe.py. JSON can hold it.
        """
        held = peak_bytes(self.plan, self._sources, len(self.lanes), self.config)
        return {"peak_bytes": held, "sources": sources_of(self.plan, self.next_step)}

    def peak_bytes(self) -> int:
        """The most that this rank's part of the stream holds in memory."""
        return sum(peak_bytes(self.plan, self._sources, len(self.lanes), self.config).values())


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
