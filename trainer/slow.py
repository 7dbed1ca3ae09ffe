"""Which rank the others wait for, from what each measured of itself since the last log line.

Ranks that wait for each other all take the same time, so only what a rank does alone tells which is
slow: waiting for its data, and a piece of the model that contains no collective (`Probe`). A slow
link between ranks looks the same from all of them, and is not seen here.
"""

import time
from statistics import median
from typing import Any

import torch
from torch import nn

RATIO = 1.5
"""Over the median rank by this, and it is slow."""

SHARE = 0.05
"""Of the time, which waiting for data must cost to be named: the stream reads ahead, so less than
that is the noise of its queue."""

PROBE = "probe"
"""Part of a rank's step, timed apart; not a phase beside the others."""


def slow_rank(rows: list[dict[str, float]]) -> tuple[int, str, float] | None:
    """The rank that holds up the others, in what, and by how many seconds over the median rank.

    `rows` are seconds by phase, a row a rank, in the order of ranks: `data`, the wait for its
    samples; `probe`, what `Probe` measured, if there is one; and whatever other phases there are,
    which with `data` make the time. None if no rank stands out.
    """
    if len(rows) < 2:
        return None
    elapsed = max(sum(row.values()) - row.get(PROBE, 0.0) for row in rows)
    for phase, least in (("data", SHARE * elapsed), (PROBE, 0.0)):
        values = [row.get(phase, 0.0) for row in rows]
        usual, worst = median(values), max(values)
        if worst > RATIO * usual and worst - usual > least:
            return values.index(worst), phase, worst - usual
    return None


class Probe:
    """Times a module that computes alone: its forward holds no collective and is not compiled.

    After `fully_shard`, a forward begins once the weights are gathered: its time is then the
    device's own, on CUDA by events that nothing waits for.
    """

    def __init__(self, module: nn.Module) -> None:
        self._spans: list[tuple[Any, Any]] = []
        module.register_forward_pre_hook(self._begin)
        module.register_forward_hook(self._end, prepend=True)

    def _begin(self, module: nn.Module, inputs: Any) -> None:
        if module.training:
            self._begun = _now(inputs[0])

    def _end(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if module.training:
            self._spans.append((self._begun, _now(inputs[0])))

    def seconds(self) -> float:
        """Since the last call; on CUDA this waits for the device, as a log line does anyway."""
        spans, self._spans = self._spans, []
        return sum(_between(begun, ended) for begun, ended in spans)


def _now(like: torch.Tensor) -> Any:
    if not like.is_cuda:
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between(begun: Any, ended: Any) -> float:
    if isinstance(begun, float):
        return float(ended - begun)
    ended.synchronize()
    return float(begun.elapsed_time(ended)) / 1000
