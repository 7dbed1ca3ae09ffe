import numpy as np

from trainer.objective.masks import chosen

LANES, SLOTS = np.repeat(np.arange(64), 16), np.tile(np.arange(16), 64)


def test_every_image_has_exactly_so_many_masked_patches():
    for count in (1, 5, 15):
        assert (chosen(0, 3, LANES, SLOTS, 16, count).sum(axis=1) == count).all()


def test_every_patch_is_masked_as_often_as_any_other_and_pairs_of_them_too():
    drawn = chosen(0, 3, np.arange(20_000), np.zeros(20_000, np.int64), 8, 4).astype(int)
    together = drawn.T @ drawn  # (8, 8)
    assert np.abs(np.diag(together) - 10_000).max() < 6 * 5000**0.5
    apart = together[~np.eye(8, dtype=bool)]
    assert np.abs(apart - 20_000 * 4 * 3 / (8 * 7)).max() < 6 * 3500**0.5


def test_masks_differ_between_lanes_slots_steps_and_seeds_and_not_between_parts():
    drawn = chosen(0, 0, LANES, SLOTS, 64, 32)
    assert len({row.tobytes() for row in drawn}) == len(drawn)
    for other in (
        chosen(0, 0, LANES + 64, SLOTS, 64, 32),
        chosen(0, 0, LANES, SLOTS + 16, 64, 32),
        chosen(0, 1, LANES, SLOTS, 64, 32),
        chosen(1, 0, LANES, SLOTS, 64, 32),
    ):
        assert 0.4 < (drawn == other).mean() < 0.6
    part = LANES % 3 == 1
    assert (chosen(0, 0, LANES[part], SLOTS[part], 64, 32) == drawn[part]).all()
