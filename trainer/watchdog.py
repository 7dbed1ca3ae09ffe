"""A run that no longer moves ends, and says where each rank stood.

The loop beats as it enters each phase of a step, on all ranks in the same order, so a rank that
has beaten less often than the others is the one they wait for. A thread of each rank writes its
rank's place into the store of the process group every few seconds. Where the main thread has not
beaten for too long, it writes the stacks of all threads to

    <run>/hangs/<step>-rank<r>.txt

and ends the process: a collective whose partner is gone cannot be ended otherwise. The other
ranks see that in the store, write theirs, and end too. The thread is Python's: a call into C that
keeps the interpreter's lock for ever keeps it from seeing anything.
"""

import contextlib
import faulthandler
import json
import os
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]

from trainer.distributed import World

HUNG = 70
"""Exit code of a run that stood still: EX_SOFTWARE of sysexits.h."""

LOOKS = 20
"""Looks at the clock within the limit, at least every `LOOK_SECONDS`."""

LOOK_SECONDS = 5.0

STORE_PATIENCE = timedelta(seconds=5)
"""The rank that keeps the store may itself be what hangs, or gone."""

HANGS = "hangs"
"""Folder of the stacks, in the run's."""


class Place(NamedTuple):
    """Where a rank stands, and since when."""

    beats: int = 0
    step: int = 0
    phase: str = "start"
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"step {self.step}, {self.phase}, for {self.seconds:.0f} s"


class Watchdog:
    """Watches this rank inside the block; all ranks enter it together.

    `folder` is the run's; `limit` is in seconds, and must exceed the longest phase: opening
    the run, a first compilation, a save to a slow store with the wait for the one before.
    """

    def __init__(self, folder: Path, limit: float, world: World) -> None:
        self._folder, self._limit = folder, limit
        self._rank, self._size = world.rank, world.size
        self._every = min(LOOK_SECONDS, limit / LOOKS)
        self._store = _own_store()
        self._last = (Place(), time.monotonic())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def beat(self, step: int, phase: str) -> None:
        """Says that the main thread begins a phase of a step; costs a microsecond."""
        self._last = (Place(self._last[0].beats + 1, step, phase), time.monotonic())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            place = self._place()
            self._publish(place)
            if place.seconds > self._limit or self._another_hangs():
                self._end(place)

    def _place(self) -> Place:
        place, since = self._last
        return place._replace(seconds=time.monotonic() - since)

    def _publish(self, place: Place) -> None:
        try:
            self._store.set(_key(self._rank), json.dumps(place))
        except RuntimeError:  # who keeps it is gone: this rank still watches itself
            return

    def _another_hangs(self) -> bool:
        try:
            return bool(self._store.check(["hung"]))
        except RuntimeError:
            return False

    def _end(self, place: Place) -> None:
        """Says it before it writes: the disk may be what hangs."""
        message = f"rank {self._rank} stands still: {place}; {self._others(place)}"
        with contextlib.suppress(OSError):  # who read it is gone
            print(message, file=sys.stderr, flush=True)
        writing = threading.Thread(target=self._write, args=(place, message), daemon=True)
        writing.start()
        self._tell()
        time.sleep(3 * self._every)  # in which the others see it, and write theirs
        writing.join(3 * self._every)
        os._exit(HUNG)

    def _tell(self) -> None:
        try:
            self._store.set("hung", str(self._rank))
        except RuntimeError:
            return

    def _others(self, mine: Place) -> str:
        try:
            keys = [_key(rank) for rank in range(self._size)]
            places = [Place(*json.loads(told)) for told in self._store.multi_get(keys)]
        except RuntimeError as error:
            return f"where the others are is not known: {error}".partition("\n")[0]
        return lagging([*places[: self._rank], mine, *places[self._rank + 1 :]])

    def _write(self, place: Place, message: str) -> None:
        try:
            folder = self._folder / HANGS
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / f"{place.step:08d}-rank{self._rank}.txt").open("w") as file:
                print(message, file=file, flush=True)
                faulthandler.dump_traceback(file, all_threads=True)
        except OSError as error:
            print(f"{self._folder}: stacks not written: {error}", file=sys.stderr, flush=True)


def lagging(places: list[Place]) -> str:
    """Which ranks have come less far than the others, in words."""
    furthest = max(place.beats for place in places)
    behind = {rank: place for rank, place in enumerate(places) if place.beats < furthest}
    if not behind:
        return f"all {len(places)} ranks have come equally far"
    named = "; ".join(f"rank {rank}: {place}" for rank, place in behind.items())
    return f"behind the others: {named}"


def _own_store() -> Any:
    """The group's store by a connection of its own: another's may wait for ever for an answer."""
    theirs: Any = dist.group.WORLD
    store = PrefixStore("watchdog", theirs.get_group_store().clone())
    store.set_timeout(STORE_PATIENCE)
    return store


def _key(rank: int) -> str:
    return f"rank{rank}"
