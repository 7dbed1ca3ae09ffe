import numpy as np
import pytest

from trainer.objective.prefixes import independent, paired
from trainer.stream.plan import lanes_of_rank

LANES, DEPTH = 16, 4
DRAWS = [independent, paired]


def batch(lanes=LANES, depth=DEPTH):
    """Lanes and slots of a step, by lane, then slot."""
    lanes = np.arange(lanes) if isinstance(lanes, int) else lanes
    return np.repeat(lanes, depth), np.tile(np.arange(depth), len(lanes))


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("patches", [2, 3, 64, 256])
def test_lengths_are_uniform_and_both_ends_occur(draw, patches):
    drawn = draw(0, 5, *batch(lanes=200 * (patches - 1), depth=2), patches)
    counts = np.bincount(drawn, minlength=patches)
    assert len(counts) == patches
    assert counts[0] == 0
    assert np.abs(counts[1:] - 400).max() < 6 * 400**0.5 * (1 if draw is independent else 2)


@pytest.mark.parametrize("draw", DRAWS)
def test_the_first_slot_of_a_pair_alone_is_uniform(draw):
    lanes, slots = batch(lanes=40_000, depth=2)
    counts = np.bincount(draw(3, 0, lanes, slots, 17)[::2], minlength=17)[1:]
    chi_square = ((counts - 2500.0) ** 2 / 2500).sum()
    assert chi_square < 45  # 15 degrees of freedom: one draw in 10,000 is beyond


def test_a_pair_leaves_as_many_patches_as_an_image_has():
    drawn = paired(0, 5, *batch(lanes=100), 256).reshape(-1, 2)
    assert (drawn.sum(axis=1) == 256).all()
    assert len(np.unique(drawn[:, 0])) > 100


@pytest.mark.parametrize("draw", DRAWS)
def test_lengths_differ_between_lanes_slots_steps_and_seeds(draw):
    lanes, slots = batch(64, 16)
    drawn = draw(0, 0, lanes, slots, 256)
    assert (draw(0, 0, lanes, slots, 256) == drawn).all()
    for other in (
        draw(0, 0, lanes + 64, slots, 256),
        draw(0, 0, lanes, slots + 16, 256),
        draw(0, 1, lanes, slots, 256),
        draw(1, 0, lanes, slots, 256),
    ):
        assert (drawn == other).mean() < 0.02


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("ranks", [2, 3, 5, 8])
def test_ranks_draw_other_lengths_than_each_other_and_the_same_as_one_rank_would(draw, ranks):
    expected = draw(7, 4, *batch(), 256)
    parts = [draw(7, 4, *batch(lanes_of_rank(r, ranks, LANES)), 256) for r in range(ranks)]
    assert np.concatenate(parts).tolist() == expected.tolist()
    assert len({tuple(part) for part in parts}) == ranks


@pytest.mark.parametrize("draw", DRAWS)
def test_a_micro_batch_draws_what_the_whole_batch_does(draw):
    lanes, slots = batch()
    whole = draw(7, 4, lanes, slots, 256)
    for part in (slots < 2, slots >= 2, lanes == 5):
        assert draw(7, 4, lanes[part], slots[part], 256).tolist() == whole[part].tolist()


@pytest.mark.parametrize(
    ("lanes", "slots"),
    [
        ([0], [0]),  # alone
        ([0, 0, 0], [0, 1, 2]),  # the last one alone
        ([0, 0, 0, 0], [1, 2, 3, 4]),  # beside each other, and of two pairs
        ([0, 0, 1, 1], [0, 2, 0, 2]),
        ([0, 1, 0, 1], [0, 1, 0, 1]),  # of two lanes
        ([0, 0, 0, 0], [0, 3, 2, 1]),
        ([0, 0], [1, 0]),
    ],
)
def test_a_pair_that_is_cut_is_refused(lanes, slots):
    with pytest.raises(ValueError, match="pair"):
        paired(0, 0, np.array(lanes), np.array(slots), 16)


@pytest.mark.parametrize("draw", DRAWS)
def test_an_image_of_one_patch_has_no_prefix(draw):
    with pytest.raises(ValueError, match="at least 2 patches, not 1"):
        draw(0, 0, *batch(), 1)
