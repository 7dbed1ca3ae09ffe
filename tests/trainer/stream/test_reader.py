from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipeline.format.errors import HeadraceError
from pipeline.format.images import decode
from trainer.stream.augment import AugmentConfig, augment
from trainer.stream.keyed import base_key, mix
from trainer.stream.order import Places
from trainer.stream.plan import PlannedSource, Slots, StreamPlan
from trainer.stream.reader import BlockReader, Planned, deliver
from trainer.stream.source import Record, Source

CONFIG = AugmentConfig()


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


def damaged(source, sample, epoch=0):
    return Planned(source, epoch, Record(sample, "bad", b"no image", b""))


def test_records_are_the_planned_samples_in_the_order_of_the_slots(web, trusted, pictures, pool):
    sources = [Source("web", web), Source("trusted", trusted)]
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
    source = Counted("web", web)
    plan = StreamPlan([PlannedSource("web", 23, 1, 5)], 0, lanes, lanes)
    reader = BlockReader([source], pool)
    steps = [plan.slots(step, np.arange(lanes)) for step in range(-(-23 // lanes))]
    for slots in steps:
        first = slots.places.epoch == 0  # the last step may reach into the next epoch
        reader.records(
            Slots(
                slots.lane[first],
                slots.slot[first],
                slots.source[first],
                Places(*(column[first] for column in slots.places)),
            )
        )
    assert sorted(length for _, length in source.reads) == blocks


def test_a_good_record_is_delivered_as_its_own_key_crops_it(web):
    source = Source("web", web)
    record = source.read(4, 1)[0]
    made = deliver(Planned(source, 2, record), 16, 9, CONFIG)
    key = int(mix(base_key(9, "augment", "web"), 2, 4)[0])
    assert made.record == record
    np.testing.assert_array_equal(made.pixels, augment(decode(record.image), 16, key, CONFIG))


@pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 1}, {"sample": 5}])
def test_crops_differ_between_seeds_epochs_and_samples(web, other):
    fields = {"seed": 0, "epoch": 0, "sample": 4} | other
    source, image = Source("web", web), Source("web", web).read(4, 1)[0]
    one = deliver(Planned(source, 0, image), 16, 0, CONFIG)
    moved = Record(fields["sample"], image.key, image.image, image.text)
    changed = deliver(Planned(source, fields["epoch"], moved), 16, fields["seed"], CONFIG)
    assert (one.pixels != changed.pixels).any()


def test_a_damaged_record_is_replaced_by_the_same_good_one_on_every_run(web, pictures):
    made = [deliver(damaged(Source("web", web), 4), 16, 0, CONFIG) for _ in range(3)]
    assert len({one.record.key for one in made}) == 1
    assert made[0].record.key in {picture.key for picture in pictures[:23]}
    np.testing.assert_array_equal(made[0].pixels, made[2].pixels)


def test_replacements_are_spread_over_the_source(web):
    source = Source("web", web)
    found = {
        deliver(damaged(source, sample, epoch), 8, 0, CONFIG).record.sample
        for sample in range(10)
        for epoch in range(10)
    }
    assert len(found) > 18


def test_damaged_replacements_are_passed_over(web):
    class Hole(Source):
        def read(self, start, length):
            records = super().read(start, length)
            return [r if r.sample == 11 else Record(r.sample, r.key, b"", b"") for r in records]

    made = deliver(damaged(Hole("web", web), 4), 8, 0, CONFIG)
    assert made.record.sample == 11


def test_a_source_without_a_good_sample_fails_and_names_itself(web):
    class Ruin(Source):
        def read(self, start, length):
            return [Record(r.sample, r.key, b"", b"") for r in super().read(start, length)]

    with pytest.raises(HeadraceError, match=rf"{web.url}: 100 samples in a row"):
        deliver(damaged(Ruin("web", web), 4), 8, 0, CONFIG)
