import itertools
import time
from dataclasses import replace

import pytest

from trainer.stream import making
from trainer.stream.config import StreamConfig
from trainer.stream.decode import fill
from trainer.stream.source import Source
from trainer.stream.stream import Stream
from trainer.stream.waits import Waits, waits

CONFIG = StreamConfig(batch=12, lanes=6, image_size=8, block=2, read_ahead=1)
SLOW = 0.1
"""Seconds."""


@pytest.fixture(scope="module")
def batch(mixture):
    with Stream(mixture, CONFIG) as stream:
        return next(iter(stream))


@pytest.mark.parametrize(
    ("fetched", "decoded", "parts"),
    [
        (12, 15, (2, 3, 5)),
        (1, 2, (0, 0, 10)),  # made long before: the way to the device
        (5, 20, (0, 10, 0)),
        (20, 20, (10, 0, 0)),
        (19, 25, (9, 1, 0)),
    ],
)
def test_a_wait_is_split_where_the_batch_says_its_parts_were_there(batch, fetched, decoded, parts):
    found = waits(replace(batch, fetched=fetched, decoded=decoded), asked=10, got=20)
    assert found == Waits(*parts)
    assert sum(found) == 10


def test_waits_add_up_part_by_part():
    assert Waits().plus(Waits(1, 2, 3)).plus(Waits(4, 5, 6)) == Waits(5, 7, 9)


def waited(stream, steps=4):
    """The waits for the next batches, one after the other."""
    found, batches = Waits(), iter(stream)
    for _ in range(steps):
        asked = time.monotonic()
        batch = next(batches)
        found = found.plus(waits(batch, asked, time.monotonic()))
    return found


def test_a_slow_store_is_blamed_for_its_part(mixture, monkeypatch):
    read = Source.read

    def slow(source, start, length):
        time.sleep(SLOW)
        return read(source, start, length)

    monkeypatch.setattr(Source, "read", slow)
    with Stream(mixture, CONFIG) as stream:
        found = waited(stream)
    assert found.fetch > SLOW
    assert found.fetch > 2 * (found.decode + found.transfer)


def test_a_slow_decoder_is_blamed_for_its_part(mixture, monkeypatch):
    def slow(*arguments):
        time.sleep(SLOW)
        return fill(*arguments)

    monkeypatch.setattr(making, "fill", slow)
    with Stream(mixture, CONFIG) as stream:
        found = waited(stream)
    assert found.decode > 3 * SLOW
    assert found.decode > 2 * (found.fetch + found.transfer)


def test_a_slow_copy_is_blamed_for_its_part(mixture):
    def copied(batches):
        for batch in batches:
            time.sleep(SLOW)
            yield batch

    with Stream(mixture, CONFIG) as stream:
        found = waited(itertools.islice(copied(iter(stream)), 4))
    assert found.transfer > 3 * SLOW
