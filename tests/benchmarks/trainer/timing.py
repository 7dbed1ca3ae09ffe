"""Seconds a step, and the table of steps that were timed in turn."""

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import NamedTuple

import torch

from tests.benchmarks import comparison

WARM = 2
"""Steps that are not timed: memory is taken, pages are touched."""


class Row(NamedTuple):
    """Something to time; the first of its table is ours."""

    name: str
    step: Callable[[], object]
    gflops: float
    """Of the products of a step, by `trainer.flops`."""


def finish(device: torch.device) -> None:
    """Waits for what is queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def per_step(step: Callable[[], object], steps: int, device: torch.device) -> float:
    """Seconds, the mean of so many steps in a row."""
    finish(device)
    began = time.perf_counter()
    for _ in range(steps):
        step()
    finish(device)
    return (time.perf_counter() - began) / steps


def compare(rows: list[Row], runs: int, steps: int) -> dict[Row, list[float]]:
    """Seconds a step of each on the CPU, run by run: all in turn, then in the opposite order."""
    cpu = torch.device("cpu")
    for row in rows:
        for _ in range(WARM):
            row.step()
    return comparison.alternating(rows, runs, lambda _, row: per_step(row.step, steps, cpu))


def table(found: dict[Row, list[float]]) -> Iterator[str]:
    """Markdown. Ratios are to the first row in the same run; `by FLOPs` is what they would be if
    products were all that takes time, and all went at one speed."""
    yield line("step", "GFLOPs", "ms", "min to max", "÷ ours", "min to max", "by FLOPs")
    yield "|---" * 7 + "|"
    (ours, base), *_ = found.items()
    for row, times in found.items():
        ratios = [one / other for one, other in zip(times, base, strict=True)]
        yield line(
            row.name,
            f"{row.gflops:.1f}",
            f"{1e3 * median(times):.1f}",
            spread([1e3 * one for one in times], 1),
            f"{median(ratios):.2f}",
            spread(ratios, 2),
            f"{row.gflops / ours.gflops:.2f}",
        )


def spread(values: list[float], digits: int) -> str:
    """The least and the most."""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def line(*cells: object) -> str:
    """One of a table."""
    return f"| {' | '.join(map(str, cells))} |"
