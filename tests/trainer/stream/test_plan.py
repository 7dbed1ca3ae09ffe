import numpy as np
import pytest

from trainer.stream.plan import PlannedSource, StreamPlan, lanes_of_rank, part

SOURCES = [PlannedSource("web", 101, 4, 2), PlannedSource("in1k", 13, 1, 3)]
BATCH, LANES = 24, 8


def plan(sources=SOURCES, seed=0):
    return StreamPlan(sources, seed, BATCH, LANES)


def columns(slots):
    return np.stack([slots.lane, slots.slot, slots.source, *slots.places, slots.step, slots.number])


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 5, 7, 8])
def test_the_ranks_batches_one_after_the_other_are_the_whole_batch(ranks):
    whole = plan()
    for step in (0, 1, 57):
        parts = [
            columns(plan().slots(step, lanes_of_rank(rank, ranks, LANES))) for rank in range(ranks)
        ]
        expected = columns(whole.slots(step, np.arange(LANES)))
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), expected)


@pytest.mark.parametrize(("ranks", "lanes"), [(1, 1), (3, 8), (7, 8), (8, 8), (5, 16), (48, 100)])
def test_ranks_share_the_lanes_evenly_and_in_order(ranks, lanes):
    shares = [lanes_of_rank(rank, ranks, lanes) for rank in range(ranks)]
    assert np.concatenate(shares).tolist() == list(range(lanes))
    assert {len(share) for share in shares} <= {lanes // ranks, -(-lanes // ranks)}


def test_any_step_is_computed_alone():
    steps = [columns(plan().slots(step, np.arange(LANES))) for step in range(40)]
    walked = plan()
    for step in range(40):
        np.testing.assert_array_equal(
            columns(walked.slots(step, np.arange(LANES))), steps[step], strict=True
        )
    for step in (39, 3, 17):
        found = columns(walked.slots(step, np.array([5])))
        np.testing.assert_array_equal(found, steps[step][:, steps[step][0] == 5])


def test_64_then_56_then_24_ranks_read_the_batches_of_one():
    sources = [PlannedSource("web", 2_000_000_011, 4, 256), PlannedSource("in1k", 1_281_167, 1, 16)]
    whole, step = StreamPlan(sources, 7, 4096, 64), 10**6
    for ranks in (64, 56, 24):
        for at in range(step, step + 3):
            parts = [
                columns(StreamPlan(sources, 7, 4096, 64).slots(at, lanes_of_rank(rank, ranks, 64)))
                for rank in range(ranks)
            ]
            expected = columns(whole.slots(at, np.arange(64)))
            np.testing.assert_array_equal(np.concatenate(parts, axis=1), expected)
        step += 3


def test_a_part_of_some_slots_is_these_rows():
    slots = plan().slots(4, np.arange(LANES), 3)
    np.testing.assert_array_equal(columns(part(slots, slice(5, 30))), columns(slots)[:, 5:30])


def test_a_slots_number_is_how_many_of_its_source_its_lane_took_before():
    slots = plan().slots(0, np.arange(LANES), 40)
    for lane in range(LANES):
        for source in (0, 1):
            mine = (slots.lane == lane) & (slots.source == source)
            assert slots.number[mine].tolist() == list(range(mine.sum()))


def test_slots_are_ordered_by_lane_and_then_by_slot():
    slots = plan().slots(9, np.array([2, 3, 6]))
    assert slots.lane.tolist() == [2, 2, 2, 3, 3, 3, 6, 6, 6]
    assert slots.slot.tolist() == [0, 1, 2] * 3


@pytest.mark.parametrize("lanes", [np.arange(LANES), np.array([5]), np.array([2, 3, 6])])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_chunk_of_steps_is_its_steps_one_after_the_other(lanes, steps):
    for first in (0, 3, 1_000_000):
        alone = [columns(plan().slots(first + at, lanes)) for at in range(steps)]
        chunk = plan().slots(first, lanes, steps)
        np.testing.assert_array_equal(columns(chunk), np.concatenate(alone, axis=1))
        assert sorted(set(chunk.step.tolist())) == list(range(first, first + steps))


def drawn_in(steps):
    """The columns of all slots of the first steps, one row a field."""
    whole = plan()
    return np.concatenate([columns(whole.slots(s, np.arange(LANES))) for s in range(steps)], axis=1)


def test_a_lanes_draws_of_a_source_are_numbers_0_1_2_and_on_of_its_order():
    drawn = drawn_in(steps=30)
    for lane in range(LANES):
        for source, order in enumerate(plan().orders):
            mine = drawn[3:, (drawn[0] == lane) & (drawn[2] == source)]
            number = np.arange(mine.shape[1])
            expected = order.places(np.full_like(number, lane), number)
            np.testing.assert_array_equal(mine[:-2], np.stack(expected))
            assert mine[-1].tolist() == number.tolist()


def test_each_source_counts_its_own_epochs():
    drawn = drawn_in(steps := 100)
    last = {source: drawn[3, drawn[2] == source].max() for source in (0, 1)}
    assert last[0] == (BATCH * steps * 4 // 5) // 101
    assert abs(last[1] - (BATCH * steps // 5) / 13) < 2


def test_a_sources_place_in_the_mixture_does_not_change_its_order():
    one, other = plan().orders[0], plan(SOURCES[::-1]).orders[1]
    lane, number = np.arange(8), np.arange(8)
    np.testing.assert_array_equal(one.places(lane, number), other.places(lane, number))


def test_another_seed_is_another_plan():
    one, other = (columns(plan(seed=seed).slots(0, np.arange(LANES))) for seed in (0, 1))
    assert (one[4] != other[4]).any()
    np.testing.assert_array_equal(one[:3], other[:3])  # the word has no chance in it
