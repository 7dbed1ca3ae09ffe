"""A slow rank is named by what it does alone, and nobody is named for waiting."""

import time

import torch
from torch import nn

from trainer.slow import PROBE, Probe, slow_rank


def test_the_rank_that_waits_for_its_data_is_named_with_what_it_costs():
    rows = [{"data": 0.5, "step": 9.5}, {"data": 6.0, "step": 4.0}, {"data": 0.4, "step": 9.6}]
    assert slow_rank(rows) == (1, "data", 5.5)


def test_ranks_that_wait_for_a_slow_one_are_not_slow():
    assert slow_rank([{"data": 0.1, "step": 9.9}, {"data": 0.1, "step": 5.0}] * 2) is None


def test_what_costs_less_than_a_twentieth_of_the_time_is_not_named():
    assert slow_rank([{"data": 0.01, "step": 9.9}, {"data": 0.4, "step": 9.6}]) is None
    assert slow_rank([{"data": 0.01, "step": 9.0}, {"data": 1.2, "step": 8.0}]) is not None


def test_a_world_of_one_has_no_slow_rank():
    assert slow_rank([{"data": 9.0, "step": 1.0}]) is None


def test_a_slow_device_is_named_by_its_probe_which_is_no_phase_of_its_own():
    rows = [{"data": 0.1, "step": 9.9, PROBE: 0.25}] * 3
    assert slow_rank([*rows, {"data": 0.1, "step": 9.9, PROBE: 0.75}]) == (3, PROBE, 0.5)
    assert slow_rank([*rows, {"data": 0.55, "step": 9.9, PROBE: 50.0}])[1] == PROBE


class Slow(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.01)
        return x


def test_a_probe_sums_training_forwards_since_it_was_last_asked():
    module = Slow()
    probe = Probe(module)
    for _ in range(3):
        module(torch.zeros(1))
    assert 0.03 <= probe.seconds() < 3
    assert probe.seconds() == 0
    module.eval()(torch.zeros(1))
    assert probe.seconds() == 0
