"""Speed and waits, on a stream whose batches say when they were ready."""

import time
from dataclasses import replace

import pytest

from trainer.pace import Pace
from trainer.stream.config import StreamConfig
from trainer.stream.stream import Stream

STEPS, SECONDS = 5, 0.02


@pytest.fixture(scope="module")
def batch(mixture):
    with Stream(mixture, StreamConfig(batch=12, lanes=6, image_size=8)) as stream:
        return next(iter(stream))


def slow(batch, part):
    """Batches that one part of the way holds up."""
    for _ in range(STEPS):
        began = time.monotonic()
        time.sleep(SECONDS)
        ended = time.monotonic()
        fetched = ended if part == "fetch" else began
        yield replace(batch, fetched=fetched, decoded=began if part == "transfer" else ended)


@pytest.mark.parametrize("part", ["fetch", "decode", "transfer"])
def test_a_wait_is_blamed_on_what_held_it_up(batch, part):
    pace = Pace()
    batches = pace.watch(slow(batch, part))
    for _ in range(STEPS):
        pace.take(batches)
        time.sleep(SECONDS)  # work
    line = pace.line(12)
    shares = line["waits"]
    assert max(shares, key=shares.get) == part
    assert 0.2 < shares[part] < 0.9
    assert sum(shares.values()) - shares[part] < 0.2
    assert 0 < line["images_per_second"] <= 12 / (2 * SECONDS)


def test_what_lies_between_stream_and_step_is_transfer(batch):
    def copied(batches):
        for one in batches:
            time.sleep(SECONDS)
            yield one

    pace = Pace()
    batches = copied(pace.watch(iter([batch] * STEPS)))
    for _ in range(STEPS):
        pace.take(batches)
    shares = pace.line(12)["waits"]
    assert shares["transfer"] > 0.8
    assert shares["fetch"] == shares["decode"] == 0


def test_a_line_begins_where_the_last_one_ended(batch):
    pace = Pace()
    batches = pace.watch(slow(batch, "fetch"))
    pace.take(batches)
    assert pace.line(12)["waits"]["fetch"] > 0
    time.sleep(SECONDS)
    assert pace.line(12) == {
        "images_per_second": 0.0,
        "waits": {"fetch": 0.0, "decode": 0.0, "transfer": 0.0},
    }
