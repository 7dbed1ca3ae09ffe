import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.format.shards import of_snapshot
from trainer.stream.blocks import Blocks, held_samples, next_blocks
from trainer.stream.order import SourceOrder
from trainer.stream.plan import PlannedSource, StreamPlan, part
from trainer.stream.source import Source

LATENCY = 0.1
"""Seconds that a read of the slow store takes."""


class Store:
    """A source without bytes that counts what is read and held, and may be slow."""

    def __init__(self, name="web", latency=0.0):
        self.name, self.latency = name, latency
        self.reads, self.held, self.most = [], 0, 0
        self.lock = threading.Lock()

    def read(self, start, length):
        with self.lock:
            self.reads.append((start, length))
            self.held += length
            self.most = max(self.most, self.held)
        time.sleep(self.latency)
        return [HeldRun(self, length)]


class HeldRun:
    """Counts as held until nobody has it any more. Holds every sample."""

    def __init__(self, store, length):
        self.store, self.length = store, length

    def __contains__(self, sample):
        return True

    def record(self, sample):
        return SimpleNamespace(sample=sample)

    def __del__(self):
        with self.store.lock:
            self.store.held -= self.length


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as threads:
        yield threads


def walk(stores, plan, pool, steps, first=0, chunk=1, lanes=None):
    """Reads some steps of a plan as a stream does; yields each with the seconds it waited."""
    blocks = Blocks(stores, pool)
    lanes = np.arange(plan.lanes) if lanes is None else lanes
    for begin in range(first, first + steps, chunk):
        slots = plan.slots(begin, lanes, chunk)
        following = next_blocks(slots, plan.orders, lanes, fresh=begin == first)
        rows = len(slots.lane) // chunk
        for at in range(0, rows * chunk, rows):
            mine = part(slots, slice(at, at + rows))
            asked = time.monotonic()
            planned = blocks.planned(mine)
            waited = time.monotonic() - asked
            assert [one.record.sample for one in planned] == mine.places.sample.tolist()
            blocks.ask([one for one in following if at <= one.row < at + rows])
            yield mine, waited


def test_records_are_the_planned_samples_in_the_order_of_the_slots(web, trusted, pictures, pool):
    sources = [Source("web", of_snapshot(web)), Source("trusted", of_snapshot(trusted))]
    planned = [PlannedSource("web", 23, 4, 2), PlannedSource("trusted", 7, 1, 1)]
    plan, blocks = StreamPlan(planned, 0, 12, 6), Blocks(sources, pool)
    belongs = [pictures[:23], pictures[23:30]]
    for step in range(20):
        slots = plan.slots(step, np.arange(6))
        found = blocks.planned(slots)
        keys = [
            belongs[source][sample].key
            for source, sample in zip(slots.source, slots.places.sample, strict=True)
        ]
        assert [one.record.key for one in found] == keys
        assert [one.epoch for one in found] == slots.places.epoch.tolist()


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize(("lanes", "batch"), [(1, 1), (2, 2), (3, 3), (6, 12), (40, 40), (2, 64)])
@pytest.mark.parametrize("block", [1, 5, 16])
def test_each_block_is_read_once_an_epoch(pool, lanes, batch, block, chunk):
    store, samples, epochs = Store(), 97, 4
    plan = StreamPlan([PlannedSource("web", samples, 1, block)], 0, batch, lanes)
    steps = -(-epochs * samples // (batch * chunk)) * chunk
    met = set()
    for slots, _ in walk([store], plan, pool, steps, chunk=chunk):
        places = slots.places
        rows = zip(places.epoch, places.block_start, places.block_length, strict=True)
        met |= {tuple(map(int, row)) for row in rows}
    ahead = len(store.reads) - len(met)
    assert 0 <= ahead <= lanes, "what is more than was used is what was read ahead"
    assert set(store.reads) >= {row[1:] for row in met}
    assert len(met) >= epochs * samples / block


@pytest.mark.parametrize("first", [0, 5, 16, 31, 1000])
@pytest.mark.parametrize("chunk", [1, 7])
def test_the_blocks_asked_for_are_those_that_come_wherever_a_stream_begins(first, chunk):
    plan = StreamPlan(
        [PlannedSource("web", 10_007, 3, 32), PlannedSource("b", 501, 1, 8)], 0, 32, 8
    )
    lanes = np.arange(2, 6)
    asked, opened, last = set(), set(), {}
    for begin in range(first, first + 70, chunk):
        slots = plan.slots(begin, lanes, chunk)
        for one in next_blocks(slots, plan.orders, lanes, fresh=begin == first):
            assert (one.reader, one.name) not in asked, "asked for twice"
            asked.add((one.reader, one.name))
        places = slots.places
        names = zip(places.epoch, places.block_start, places.block_length, strict=True)
        for reader, name in zip(zip(slots.source, slots.lane, strict=True), names, strict=True):
            here = tuple(map(int, reader)), tuple(map(int, name))
            if last.get(here[0], here[1]) != here[1]:
                opened.add(here)
                assert here in asked, "came without having been asked for"
            last[here[0]] = here[1]
    assert len(opened) > 20


def test_of_a_slow_store_no_wave_border_waits(pool):
    store = Store(latency=LATENCY)
    plan = StreamPlan([PlannedSource("web", 100_000, 1, 32)], 0, 16, 8)  # a wave is 16 steps
    waits = []
    for _, waited in walk([store], plan, pool, 80, chunk=16):
        waits.append(waited)
        time.sleep(LATENCY / 5)  # a step takes this long: half a wave is 1.6 reads
    assert waits[0] >= LATENCY
    assert max(waits[1:]) < LATENCY / 2


def test_the_reads_of_a_wave_are_spread_over_half_of_it(pool):
    lanes = np.arange(64)
    plan = StreamPlan([PlannedSource("web", 10**6, 1, 64)], 0, 64, 64)
    slots = plan.slots(0, lanes, 64)
    rows = [one.row // 64 for one in next_blocks(slots, plan.orders, lanes, fresh=True)]
    assert sorted(rows) == sorted(2 * list(range(32)))  # two at every step of the first half


@pytest.mark.parametrize(("batch", "lanes", "block"), [(16, 8, 32), (64, 4, 16), (64, 8, 2)])
def test_no_more_is_held_than_is_said(pool, batch, lanes, block):
    stores = [Store("web"), Store("b")]
    sources = [PlannedSource("web", 9973, 2, block), PlannedSource("b", 5003, 1, block)]
    plan = StreamPlan(sources, 0, batch, lanes)
    for _ in walk(stores, plan, pool, 200, chunk=8):
        pass
    depth = batch // lanes
    for store in stores:
        assert store.most <= lanes * held_samples(block, depth)
        assert len(store.reads) > 3 * lanes


def test_the_next_block_of_a_lane_is_where_its_order_goes():
    order = SourceOrder("web", 103, 5, 4, seed=2)
    plan = StreamPlan([PlannedSource("web", 103, 1, 4)], 2, 5, 5)
    lanes = np.arange(5)
    for begin in range(0, 90, 9):
        slots = plan.slots(begin, lanes, 9)
        for row, (_, lane), name in next_blocks(slots, plan.orders, lanes, fresh=begin == 0):
            number = slots.number[row] + slots.places.left[row] + 1
            place = order.places(np.array([lane]), np.array([number]))
            assert name == (place.epoch[0], place.block_start[0], place.block_length[0])
            assert place.left[0] == place.block_length[0] - 1
