"""Micro-batches: every slot in one part, alike in all lanes, and back in its place."""

import pytest
import torch

from trainer.parts import micro_batches, part_of, together


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_parts_share_the_slots_of_every_lane_and_come_together_in_their_order(count):
    values = torch.arange(4 * 6 * 2).reshape(4 * 6, 2)
    parts = [part_of(values, 6, part) for part in micro_batches(6, count)]
    assert [len(part) for part in parts] == [4 * 6 // count] * count
    assert all({n // 12 for n in part.flatten().tolist()} == {0, 1, 2, 3} for part in parts)
    assert together(parts, 6).equal(values)


def test_parts_that_do_not_share_a_lane_evenly_are_refused():
    with pytest.raises(ValueError, match="4 micro-batches do not share 6 slots"):
        micro_batches(6, 4)
