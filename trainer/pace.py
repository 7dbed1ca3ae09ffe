"""How fast a run goes, and what it waits for, between two lines of its log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trainer.stream.batch import Batch
from trainer.stream.waits import Waits, waits

MEMORY = 100
"""Lines that the forecast remembers: enough to hold validations, few enough to forget last week."""


class Forecast:
    """How long the rest of a run will take, by what a step took so far with all that is due."""

    def __init__(self) -> None:
        self.lines, self.per_step = 0, 0.0

    def add(self, steps: int, seconds: float) -> None:
        """Takes in a line. The second one replaces the first, which holds what is compiled."""
        if not steps:
            return
        self.lines += 1
        share = 1 / min(max(self.lines - 1, 1), MEMORY)
        self.per_step += share * (seconds / steps - self.per_step)

    def seconds(self, left: int) -> int:
        """Of the `left` steps still to do."""
        return round(left * self.per_step)


class Pace:
    """Of this rank; shares are of the time since the last line, without what was set aside."""

    def __init__(self) -> None:
        self.forecast = Forecast()
        self._begin()

    def _begin(self) -> None:
        self.since, self.steps, self.waited, self.apart = time.monotonic(), 0, 0.0, 0.0
        self.stream = Waits()

    def watch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The stream's batches, timed where they are asked for: a device asks for them early."""
        while True:
            asked = time.monotonic()
            batch = next(batches, None)
            if batch is None:
                return
            self.stream = self.stream.plus(waits(batch, asked, time.monotonic()))
            yield batch

    def take(self, batches: Iterator[Batch]) -> Batch:
        """The next batch on the device. What the stream did not take of the wait is transfer."""
        asked = time.monotonic()
        batch = next(batches)
        self.waited += time.monotonic() - asked
        self.steps += 1
        return batch

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Around a validation or a save: no part of the speed, but of what is still to come."""
        began = time.monotonic()
        yield
        self.apart += time.monotonic() - began

    def phases(self) -> dict[str, float]:
        """Seconds since the last line that this rank waited for data, and the rest, for `slow.py`.

        To be asked before the line is.
        """
        seconds = time.monotonic() - self.since - self.apart
        return {"data": self.waited, "step": seconds - self.waited}

    def line(self, batch: int) -> dict[str, Any]:
        """For the log, at `batch` images a step; the next line begins here.

        To be asked once the device has finished: what is still queued would count for nothing.
        """
        seconds = time.monotonic() - self.since
        self.forecast.add(self.steps, seconds)
        fetch, decode, _ = self.stream
        parts = Waits(fetch, decode, max(0.0, self.waited - fetch - decode))
        fields = speed(self.steps * batch, seconds - self.apart, parts)
        self._begin()
        return fields


def speed(images: int, seconds: float, waited: Waits) -> dict[str, Any]:
    """Images a second of all ranks, and the shares of the time that this one waited."""
    shares = {name: round(part / seconds, 4) for name, part in waited._asdict().items()}
    return {"images_per_second": float(f"{images / seconds:.4g}"), "waits": shares}


def data_wait(fields: dict[str, Any]) -> float:
    """The share of the time that a line's rank waited for its data."""
    return round(sum(fields["waits"].values()), 4)
