"""The snapshots of a run: pinned as long as it needs them, and watched, for one may be retired.

`headrace prune` sees the pins and asks before it retires one (pipeline/format/pins.py). Whoever
retires it nevertheless ends the run: the first rank looks once a minute and tells all, who stop at
one step, save, and raise Retired. Where a shard is gone before that, one rank alone still saves; of
several, the checkpoint before counts. What a run then leaves of the snapshot on its node goes too.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future

from pipeline.format import ending, pins, retired
from pipeline.format.errors import HeadraceError
from pipeline.format.retired import Retired
from pipeline.format.shards import of_snapshot
from pipeline.format.snapshot import read_snapshot
from trainer.config import RunConfig
from trainer.control import Control, Stopped
from trainer.distributed import World
from trainer.stream.config import CacheConfig
from trainer.stream.pinned import Pinned

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
"""From look to look whether a snapshot was retired."""

ANSWER_SECONDS = 10.0
"""In which a store must say; else it is asked again at the next look."""


class Snapshots:
    """Those of one run, on one rank; the first one `leads`."""

    def __init__(self, urls: tuple[str, ...], run: str, leads: bool) -> None:
        self.urls, self.run, self.leads = tuple(dict.fromkeys(urls)), run, leads

    def pin(self) -> None:
        """Pins them, where their datasets may be written to."""
        for url in self.urls if self.leads else ():
            try:
                pins.pin(url, self.run)
            except HeadraceError as error:
                log.warning("%s: not pinned, so `headrace prune` will not ask: %s", url, error)

    def release(self) -> None:
        """Takes the pins back: the run needs them no more."""
        for url in self.urls if self.leads else ():
            with contextlib.suppress(HeadraceError):  # told when it was pinned
                pins.unpin(url, self.run)

    def retired(self) -> bool:
        """Whether one was retired, as far as its store says."""
        with contextlib.suppress(HeadraceError):
            return any(retired.is_retired(url, ANSWER_SECONDS) for url in self.urls)
        return False

    @contextlib.contextmanager
    def watched(self, control: Control) -> Iterator[None]:
        """Stops the block by `control` if one is retired. Whatever ended the block then, this ends
        with Retired.
        """
        ended: Future[None] = Future()
        watch = threading.Thread(target=self._watch, args=(control, ended), daemon=True)
        if self.leads:
            watch.start()
        try:
            yield
        except (HeadraceError, Stopped):
            if self.retired():
                self._end()
            raise
        finally:
            ended.set_result(None)

    def _watch(self, control: Control, ended: Future[None]) -> None:
        ending.heed(ended)
        with contextlib.suppress(CancelledError):
            while not self.retired():
                ending.pause(LOOK_SECONDS)
            control.retire()

    def _end(self) -> None:
        """Raises Retired; the run never goes on, so nothing of it needs the snapshots."""
        self.release()
        for url in self.urls:
            retired.check(url)


@contextlib.contextmanager
def forgetting(config: RunConfig, world: World) -> Iterator[None]:
    """Where the block ends with Retired: removes this run's pin, and from the node's disk the
    copies of the snapshot's shards, for they may hold what was to be erased. Those that its
    successor has too stay.
    """
    try:
        yield
    except Retired as error:
        if world.leads:
            Snapshots((error.snapshot,), config.run, True).release()
        if config.stream.cache:
            _forget(config.stream.cache, error)
        raise


def _forget(cache: CacheConfig, error: Retired) -> None:
    try:
        names = _prints(error.snapshot) - _prints(error.successor)
        Pinned(cache.folder, cache.max_bytes).forget(names)
    except (HeadraceError, OSError) as failure:
        log.warning(
            "%s: may hold shards of a retired snapshot; delete it: %s", cache.folder, failure
        )


def _prints(snapshot: str) -> set[str]:
    shards = of_snapshot(read_snapshot(snapshot))
    return {shards.fingerprint(n) for n in range(len(shards.paths))}
