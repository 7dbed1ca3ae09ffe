import math

import numpy as np
import pytest

from trainer.stream.mixing import Mixing, smooth_word

WEIGHTS = [(1,), (1, 1), (4, 1), (1, 4), (3, 2), (7, 3, 2), (1, 1, 1, 1), (17, 3), (333, 667)]


def literal_taken(mixing, source, lane, slot):
    start = lane * len(mixing.word) // mixing.lanes
    word = [int(mixing.word[(start + n) % len(mixing.word)]) for n in range(slot)]
    return word.count(source)


def all_taken(mixing, slots):
    """Samples of each source that each lane took before each slot: (sources, lanes, slots)."""
    sources, lanes = np.arange(len(mixing.weights)), np.arange(mixing.lanes)
    return mixing.taken(sources[:, None, None], lanes[None, :, None], slots[None, None, :])


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_word_holds_each_source_as_often_as_its_weight(weights):
    word = smooth_word(weights)
    assert np.bincount(word, minlength=len(weights)).tolist() == list(weights)


def test_the_word_of_4_to_1_is_evenly_spread():
    assert smooth_word([4, 1]).tolist() == [0, 0, 1, 0, 0]
    assert smooth_word([3, 2]).tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_every_beginning_of_the_word_is_within_one_sample_of_each_share(weights):
    mixing, total = Mixing(weights, 1), sum(weights)
    exact = np.outer(weights, np.arange(total + 1)) / total
    assert np.abs(mixing.counts - exact).max() <= 1


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("lanes", [1, 3, 8])
def test_taken_is_a_literal_count_of_the_slots_before(weights, lanes):
    mixing = Mixing(weights, lanes)
    total = sum(weights)
    for lane in range(lanes):
        for slot in (0, 1, 2, 5, total - 1, total, total + 1, 2 * total + 3):
            for source in range(len(weights)):
                found = mixing.taken(np.array([source]), np.array([lane]), np.array([slot]))
                assert found.tolist() == [literal_taken(mixing, source, lane, slot)]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_source_is_drawn_exactly_where_its_count_grows(weights):
    mixing, slots = Mixing(weights, 5), np.arange(3 * sum(weights) + 1)
    grows = np.diff(all_taken(mixing, slots), axis=2)
    drawn = mixing.source(np.arange(5)[:, None], slots[None, :-1])
    assert (grows == (drawn == np.arange(len(weights))[:, None, None])).all()


def test_at_4_to_1_every_batch_of_4096_over_256_lanes_holds_819_or_820_of_the_smaller_source():
    mixing, depth = Mixing([4, 1], 256), 4096 // 256
    drawn = mixing.source(np.arange(256)[:, None], np.arange(depth * 1000)[None, :])
    per_batch = (drawn == 1).sum(axis=0).reshape(1000, depth).sum(axis=1)
    assert set(per_batch.tolist()) == {819, 820}


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_lane_never_strays_two_samples_from_its_shares(weights):
    mixing, slots = Mixing(weights, 64), np.arange(2 * sum(weights) + 1)
    exact = np.outer(weights, slots)[:, None, :] / sum(weights)
    assert np.abs(all_taken(mixing, slots) - exact).max() < 2


@pytest.mark.parametrize(("weights", "lanes"), [((4, 1), 6), ((101, 100), 100), ((3, 5, 7), 8)])
def test_the_worst_error_is_what_a_walk_finds(weights, lanes):
    mixing = Mixing(weights, lanes)
    lane, total = np.arange(lanes), sum(weights)
    taken, worst = np.zeros(len(weights)), 0.0
    for slot in range(2 * total):
        fair = slot * lanes * np.array(weights) / total
        worst = max(worst, np.abs(taken - fair).max())
        drawn = mixing.source(lane, np.full(lanes, slot))
        taken += np.bincount(drawn, minlength=len(weights))
    assert mixing.worst_error() == pytest.approx(worst)


@pytest.mark.parametrize("lanes", [1, 2, 8, 10, 64, 100, 105, 124, 128, 256, 257, 512, 1024])
def test_all_lanes_together_stay_within_five_samples_for_all_pairs_of_weights_up_to_20(lanes):
    for total in range(2, 21):
        for weight in range(1, total // 2 + 1):
            if math.gcd(weight, total) == 1:
                assert Mixing((weight, total - weight), lanes).worst_error() < 5


@pytest.mark.parametrize(
    ("weights", "lanes"),
    [((33, 67), 256), ((101, 100), 100), ((359, 282), 1000), ((100, 228, 67, 89), 256)],
)
def test_for_longer_words_all_lanes_together_stay_within_two_samples_a_lane(weights, lanes):
    """Lanes that start in step with the word move together: five samples do not hold here."""
    assert Mixing(weights, lanes).worst_error() < lanes


@pytest.mark.parametrize("lanes", [4, 256])
def test_a_whole_word_leaves_no_error_at_all(lanes):
    for weights in WEIGHTS:
        slots = np.array([sum(weights) * 1_000_000])
        taken = all_taken(Mixing(weights, lanes), slots)[:, :, 0]
        assert (taken == np.array(weights)[:, None] * 1_000_000).all()
