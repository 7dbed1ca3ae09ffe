"""Speed and waits, on a stream whose batches say when they were ready."""

import time
from dataclasses import replace

import pytest

from trainer.pace import MEMORY, Forecast, Pace, data_wait, speed
from trainer.stream.config import StreamConfig
from trainer.stream.stream import Stream
from trainer.stream.waits import Waits

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


def test_speed_is_of_all_images_and_waits_are_shares():
    fields = speed(4096 * 10, 20.0, Waits(1.0, 0.5, 0.25))
    shares = {"fetch": 0.05, "decode": 0.025, "transfer": 0.0125}
    assert fields == {"images_per_second": 2048.0, "waits": shares}
    assert data_wait(fields) == 0.0875
    assert speed(1, 345.6, Waits())["images_per_second"] == 0.002894


def test_a_validation_slows_no_images_down_but_puts_the_end_off(batch):
    pace = Pace()
    batches = iter([batch] * STEPS)
    for _ in range(STEPS):
        pace.take(batches)
        time.sleep(SECONDS)
    with pace.aside():
        time.sleep(10 * STEPS * SECONDS)
    fields = pace.line(12)
    assert fields["images_per_second"] > 12 / (5 * SECONDS)
    assert pace.forecast.per_step > 10 * SECONDS


def test_a_forecast_takes_steps_to_last_as_long_as_they_did():
    forecast = Forecast()
    assert forecast.seconds(100) == 0
    forecast.add(10, 20.0)
    assert forecast.seconds(100) == 200
    forecast.add(0, 5.0)
    assert forecast.seconds(100) == 200


def test_a_forecast_forgets_the_line_that_held_compiling():
    forecast = Forecast()
    forecast.add(10, 1000.0)
    forecast.add(10, 10.0)
    assert forecast.seconds(100) == 100
    forecast.add(10, 20.0)
    assert forecast.seconds(100) == 150


def test_a_forecast_follows_a_change_within_some_hundred_lines():
    forecast = Forecast()
    for _ in range(10_000):
        forecast.add(1, 1.0)
    for _ in range(5 * MEMORY):
        forecast.add(1, 2.0)
    assert forecast.seconds(1000) == pytest.approx(2000, rel=0.01)


def test_a_rank_tells_what_it_waited_and_what_it_worked_without_validations(batch):
    pace = Pace()
    batches = pace.watch(slow(batch, "fetch"))
    for _ in range(STEPS):
        pace.take(batches)
        time.sleep(2 * SECONDS)  # work
    with pace.aside():
        time.sleep(50 * SECONDS)
    told = pace.phases()
    assert STEPS * SECONDS <= told["data"] < told["step"]
    assert 2 * STEPS * SECONDS <= told["step"] < 40 * SECONDS
    pace.line(12)
    assert pace.phases()["data"] == 0
