from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from pipeline.format.errors import HeadraceError
from pipeline.format.images import decode
from pipeline.format.shards import of_snapshot
from trainer.stream.augment import TRIES, AugmentConfig, augment
from trainer.stream.bad import Bad
from trainer.stream.keyed import uniforms
from trainer.stream.order import Places
from trainer.stream.plan import PlannedSource, Slots, StreamPlan
from trainer.stream.reader import BlockReader, Planned, deliver
from trainer.stream.source import Record, Source

CONFIG = AugmentConfig()
DRAWS = uniforms(0, 1 + 4 * TRIES)[0]


class Counted(Source):
    """A source that remembers what was read of it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.reads = []

    def read(self, start, length):
        self.reads.append((start, length))
        return super().read(start, length)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as threads:
        yield threads


def damaged(source, sample, epoch=0, **changes):
    """A planned sample whose bytes are no image."""
    record = source.records(sample, 1)[0]
    return Planned(source, epoch, replace(record, **{"image": b"no image"} | changes))


def without_image(record: Record) -> Record:
    return replace(record, image=b"")


def test_records_are_the_planned_samples_in_the_order_of_the_slots(web, trusted, pictures, pool):
    sources = [Source("web", of_snapshot(web)), Source("trusted", of_snapshot(trusted))]
    planned = [PlannedSource("web", 23, 4, 2), PlannedSource("trusted", 7, 1, 1)]
    plan, reader = StreamPlan(planned, 0, 12, 6), BlockReader(sources, pool)
    belongs = [pictures[:23], pictures[23:30]]
    for step in range(20):
        slots = plan.slots(step, np.arange(6))
        found = reader.records(slots)
        keys = [
            belongs[source][sample].key
            for source, sample in zip(slots.source, slots.places.sample, strict=True)
        ]
        assert [one.record.key for one in found] == keys
        assert [one.epoch for one in found] == slots.places.epoch.tolist()


@pytest.mark.parametrize(
    ("lanes", "blocks"),
    [(1, [3, 5, 5, 5, 5]), (2, [1, 2, 5, 5, 5, 5]), (3, [2, 3, 3, 5, 5, 5])],
)
def test_each_block_is_read_once_an_epoch(web, pool, lanes, blocks):
    source = Counted("web", of_snapshot(web))
    plan = StreamPlan([PlannedSource("web", 23, 1, 5)], 0, lanes, lanes)
    reader = BlockReader([source], pool)
    steps = [plan.slots(step, np.arange(lanes)) for step in range(-(-23 // lanes))]
    for slots in steps:
        first = slots.places.epoch == 0  # the last step may reach into the next epoch
        reader.records(
            Slots(
                *(column[first] for column in slots[:-1]),
                Places(*(column[first] for column in slots.places)),
            )
        )
    assert sorted(length for _, length in source.reads) == blocks


def test_a_good_record_is_delivered_as_its_draws_crop_it(web):
    source = Source("web", of_snapshot(web))
    record = source.records(4, 1)[0]
    made = deliver(Planned(source, 2, record), DRAWS, 16, 9, CONFIG)
    assert made.record == record
    assert made.bad is None
    np.testing.assert_array_equal(made.pixels, augment(decode(record.image), 16, DRAWS, CONFIG))


def deliver_damaged(source, sample, epoch=0, **changes):
    return deliver(damaged(source, sample, epoch, **changes), DRAWS, 8, 0, CONFIG)


def test_a_damaged_record_is_replaced_by_the_same_good_one_on_every_run(web, pictures):
    made = [deliver_damaged(Source("web", of_snapshot(web)), 4) for _ in range(3)]
    assert len({one.record.key for one in made}) == 1
    assert made[0].record.key in {picture.key for picture in pictures[:23]}
    np.testing.assert_array_equal(made[0].pixels, made[2].pixels)


def test_a_damaged_record_is_told_with_its_place_its_reason_and_what_stands_in(web, pictures):
    source = Source("web", of_snapshot(web))
    shard = f"{web.dataset}/{web.shards[1].path}"
    made = deliver_damaged(source, 11)
    begins = "not_an_image: begins with b'no image'"
    offset = source.records(11, 1)[0].offset
    assert made.bad == Bad(
        "web", 11, shard, pictures[11].key, offset, begins, instead=made.record.key
    )
    assert made.bad.kind == "not_an_image"


def test_a_record_that_is_not_in_its_tar_is_replaced_though_its_bytes_are_an_image(web, pictures):
    source, fault = Source("web", of_snapshot(web)), "not_in_tar: 'x' stands where the index says"
    made = deliver_damaged(source, 4, image=pictures[4].image, fault=fault)
    assert made.record.sample != 4
    assert (made.bad.reason, made.bad.kind) == (fault, "not_in_tar")


def test_replacements_are_spread_over_the_source(web):
    source = Source("web", of_snapshot(web))
    found = {
        deliver_damaged(source, sample, epoch).record.sample
        for sample in range(10)
        for epoch in range(10)
    }
    assert len(found) > 18


def test_damaged_replacements_are_passed_over_and_the_first_reason_is_told(web):
    class Hole(Source):
        def records(self, start, length):
            found = super().records(start, length)
            return [one if one.sample == 11 else without_image(one) for one in found]

    made = deliver_damaged(Hole("web", of_snapshot(web)), 4)
    assert made.record.sample == 11
    assert (made.bad.sample, made.bad.kind) == (4, "not_an_image")


def test_a_source_without_a_good_sample_fails_and_names_itself(web):
    class Ruin(Source):
        def records(self, start, length):
            return [without_image(one) for one in super().records(start, length)]

    with pytest.raises(HeadraceError, match=rf"{web.url}: 100 samples in a row"):
        deliver_damaged(Ruin("web", of_snapshot(web)), 4)
