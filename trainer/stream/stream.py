"""The stream: batches whose content is a pure function of (mixture, seed, step)."""

import contextlib
import functools
import logging
import weakref
from collections.abc import Generator, Iterator
from typing import Any

from pipeline.format import address
from pipeline.format.errors import HeadraceError
from trainer.stream import digest
from trainer.stream.batch import Batch
from trainer.stream.config import StreamConfig
from trainer.stream.describe import INDEX_ROW, peak_bytes, sources_of
from trainer.stream.heap import share_heap
from trainer.stream.identity import changed_shards, differences, identity_of, shard_prints
from trainer.stream.indexes import MAX_BYTES
from trainer.stream.making import batches
from trainer.stream.opening import Named, as_planned, open_all
from trainer.stream.pinned import Pinned, is_far
from trainer.stream.plan import StreamPlan, lanes_of_rank
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
        share_heap()
        self.config, self.next_step, self.digest = config, 0, 0
        folder = config.cache.folder if config.cache else None
        opened = open_all(named, folder, config.patience)
        self.names = [name for name, _, _ in opened]
        _check_blocks(config, self.names)
        self._sources = [Source(name, shards, config.patience) for name, _, shards in opened]
        planned = [as_planned(source, config.block, config.lanes) for source in opened]
        self.plan = StreamPlan(planned, config.seed, config.batch, config.lanes)
        self.lanes = lanes_of_rank(rank, world_size, config.lanes)
        self.identity = identity_of(planned, self._sources, config)
        self._pins = self._pin()
        self._live: weakref.ref[Generator[Batch]] | None = None

    def _pin(self) -> Pinned | None:
        """What brings sources that are read sample by sample, and lie far away, to this node.

        It does so as long as an iteration lives.
        """
        cache = self.config.cache
        single = [
            source
            for source, order in zip(self._sources, self.plan.orders, strict=True)
            if order.block == 1
        ]
        far = [source for source in single if is_far(source.shards)]
        pins = (
            Pinned(cache.folder, cache.max_bytes, self.config.patience) if cache and far else None
        )
        for source in far:
            if pins is None:
                log.warning(
                    "%s: each sample is one request to the store; name a stream.cache, or read by "
                    "blocks",
                    source.shards.label,
                )
                continue
            pins.want(source.shards)
            source.pinned, source.indexes.folder = pins, pins.indexes
        for source in single:
            _warn_of_indexes(source)
        return pins

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
        fetching = self._pins.fetching() if self._pins else contextlib.nullcontext()
        with contextlib.closing(made), fetching:
            for batch in made:
                self.next_step = batch.step + 1
                self.digest = digest.total([self.digest, batch.digest])
                _log_bad(batch)
                yield batch

    def state_dict(self) -> dict[str, Any]:
        """The number of the next step, and what the stream is a function of besides.

        `shards` tells which shards changed, where the identity only tells that some did.
        """
        return {"step": self.next_step, "identity": self.identity, "shards": self._prints}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The next iteration begins at the saved step, its digest at zero.

        Raises HeadraceError if the state is of another stream.
        """
        shards = changed_shards(state.get("shards", {}), self._prints, self._sources)
        changed = shards or differences(state["identity"], self.identity)
        if changed:
            raise HeadraceError(
                "the saved state is of another stream: " + "; ".join(changed) + "; a resume must "
                "read what the run began with"
            )
        self.next_step, self.digest = state["step"], 0

    @functools.cached_property
    def _prints(self) -> dict[str, str]:
        return shard_prints(self._sources)

    @property
    def origins(self) -> dict[str, dict[str, Any]]:
        """Where each source lies, by its name, with its samples and weight. JSON can hold it."""
        return {
            source.name: {
                "url": address.redact(source.shards.label),
                "samples": len(source),
                "weight": int(weight),
            }
            for source, weight in zip(self._sources, self.plan.mixing.weights, strict=True)
        }

    @property
    def snapshots(self) -> tuple[str, ...]:
        """URLs of the sources that are snapshots."""
        return tuple(s.shards.label for s in self._sources if s.shards.indexes is None)

    def describe(self) -> dict[str, Any]:
        """What to print first: `peak_bytes` of this rank by kind, the `sources` by name, and the
        `worst_error` of the ratio in samples, at any step of all ranks.

        See describe.py. JSON can hold it.
        """
        return {
            "peak_bytes": peak_bytes(self.plan, self._sources, len(self.lanes), self.config),
            "sources": sources_of(self.plan, self.next_step),
            "worst_error": round(self.plan.mixing.worst_error(), 2),
        }


def _log_bad(batch: Batch) -> None:
    for bad in batch.bad:
        log.warning(
            "step %d: sample %d of %s (%s, %s): %s; %s stands in for it",
            *(batch.step, bad.sample, bad.source, bad.url, bad.key, bad.reason, bad.instead),
        )


def _warn_of_indexes(source: Source) -> None:
    """Neighbours in the order of single samples are of any two shards."""
    nbytes = len(source) * INDEX_ROW
    if nbytes > MAX_BYTES and source.indexes.folder is None:
        log.warning(
            "%s: with `block: 1`, indexes of %d samples take up to %d MB, of which %d are held: "
            "most samples may have to wait for one that is read again; read by blocks",
            *(source.shards.label, len(source), nbytes >> 20, MAX_BYTES >> 20),
        )


def _check_blocks(config: StreamConfig, names: list[str]) -> None:
    unknown = set(config.block) - set(names) if isinstance(config.block, dict) else set()
    if unknown:
        raise HeadraceError(f"stream.block: no source {sorted(unknown)}; there are {names}")
