"""Mixup and erasing are keyed by step, lane and slot, and by nothing else."""

from dataclasses import replace

import pytest
import torch

from trainer.lora.mixing import boxes, erase, partners, shares
from trainer.stream.batch import Batch


def batch(lanes, depth: int = 4, step: int = 7) -> Batch:
    """As a rank with these lanes has it."""
    n = len(lanes) * depth
    zeros = torch.zeros(n, dtype=torch.int64)
    return Batch(
        step=step,
        images=torch.zeros(n, 3, 32, 32, dtype=torch.uint8),
        lanes=torch.tensor(lanes).repeat_interleave(depth),
        slots=torch.arange(depth).repeat(len(lanes)),
        sources=zeros,
        epochs=zeros,
        samples=zeros,
        keys=[""] * n,
        captions=[""] * n,
        bad=[],
    )


def test_two_ranks_draw_what_one_does():
    whole, halves = batch(range(6)), [batch(range(3)), batch(range(3, 6))]
    for draw in (lambda b: shares(b, 1, 0.4), lambda b: boxes(b, 1, 0.5, 32)):
        assert torch.equal(draw(whole), torch.cat([draw(half) for half in halves]))
        assert torch.equal(draw(whole), draw(whole))
        assert not torch.equal(draw(whole), draw(replace(whole, step=8)))


def test_another_seed_draws_others():
    whole = batch(range(6))
    assert not torch.equal(shares(whole, 1, 0.4), shares(whole, 2, 0.4))
    assert not torch.equal(boxes(whole, 1, 0.5, 32), boxes(whole, 2, 0.5, 32))


def test_a_partner_is_the_next_of_the_lane():
    assert partners(batch([4, 9], depth=3), 3).tolist() == [1, 2, 0, 4, 5, 3]


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_shares_are_beta(alpha):
    drawn = shares(batch(range(500)), 0, alpha)
    assert ((drawn >= 0) & (drawn <= 1)).all()
    assert drawn.mean() == pytest.approx(0.5, abs=0.03)
    assert drawn.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
    assert shares(batch([0]), 0, None).tolist() == [1] * 4


def test_boxes_lie_in_the_image_as_often_and_as_large_as_they_should():
    drawn = boxes(batch(range(500)), 0, 0.25, 64)
    top, left, bottom, right = drawn.unbind(1)
    assert drawn.min() >= 0
    assert drawn.max() <= 64
    area = (bottom - top) * (right - left)
    assert (area > 0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert 0.015 < area[area > 0].min() / 64**2 < area.max() / 64**2 < 0.42


def test_only_the_box_is_erased():
    images = torch.ones(2, 3, 8, 8)
    erased = erase(images, torch.tensor([[1, 2, 4, 7], [3, 3, 3, 3]]))
    assert (erased[0, :, 1:4, 2:7] == 0).all()
    assert erased[0].sum() == 3 * (64 - 15)
    assert torch.equal(erased[1], images[1])
