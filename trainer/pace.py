"""How fast a run goes, and what it waits for, between two lines of its log."""

import time
from collections.abc import Iterator
from typing import Any

from trainer.stream.batch import Batch
from trainer.stream.waits import Waits, waits


class Pace:
    """Of this rank; shares are of the time since the last line."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.since, self.steps, self.waited = time.monotonic(), 0, 0.0
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

    def line(self, batch: int) -> dict[str, Any]:
        """For the log, at `batch` images a step; the next line begins here."""
        seconds = time.monotonic() - self.since
        fetch, decode, _ = self.stream
        transfer = max(0.0, self.waited - fetch - decode)
        parts = {"fetch": fetch, "decode": decode, "transfer": transfer}
        shares = {name: round(part / seconds, 4) for name, part in parts.items()}
        speed = round(self.steps * batch / seconds, 1)
        self._begin()
        return {"images_per_second": speed, "waits": shares}
