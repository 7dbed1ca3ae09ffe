"""The validation loss by step: how each row's goes down, and whether it turns up again."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jobs.sweep.intervals import t_interval
from pipeline.format import writing
from pipeline.report import charts
from trainer import metrics

Curve = Mapping[int, float]
"""Step → loss, of one seed."""

COLOURS = (charts.KEPT, charts.DROPPED, charts.INK, charts.MUTED)

FALLS, TURNS, NOISE = "no", "yes", "within the noise"


def of_run(run: str, forms: Sequence[str] = ("causal", "masked")) -> dict[int, float]:
    """Step → validation loss in the first of these forms that the log has."""
    lines = [line for line in metrics.read(Path(run) / "metrics.jsonl") if "validation" in line]
    for form in forms:
        if any(line["validation"].get(form) is not None for line in lines):
            found = {line["step"]: line["validation"].get(form) for line in lines}
            return {step: loss for step, loss in found.items() if loss is not None}
    return {}


def told(seeds: Mapping[int, Curve]) -> dict[str, Any] | None:
    """The curve of a row over its seeds, for JSON, and whether it turns up; None without one."""
    steps = sorted(set.intersection(*(set(curve) for curve in seeds.values()))) if seeds else []
    if not steps:
        return None
    losses = {seed: [curve[step] for step in steps] for seed, curve in sorted(seeds.items())}
    return {
        "steps": steps,
        "seeds": {str(seed): values for seed, values in losses.items()},
        "mean": _means(list(losses.values())),
        "turns_up": turns_up(steps, list(losses.values())),
    }


def turns_up(steps: Sequence[int], losses: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Whether the loss (a list over `steps` for each seed) ends above its best.

    The least of a noisy curve lies too low by itself. So each seed's rise is taken from the step
    that is best in the mean of the *other* seeds. `answer` is "yes" if the interval of the mean
    rise is above 0; with one seed it has no interval and stands for what it is.
    """
    mean = _means(losses)
    best = mean.index(min(mean))
    rises = [own[-1] - own[_best_of_others(losses, n)] for n, own in enumerate(losses)]
    value, low, high = t_interval(rises)
    several = len(rises) > 1
    if best == len(steps) - 1:
        answer = FALLS
    else:
        answer = TURNS if (low if several else value) > 0 else NOISE
    interval = {"value": value, "low": low if several else None, "high": high if several else None}
    return {
        "answer": answer,
        "best_step": steps[best],
        "last_step": steps[-1],
        "rise": interval | {"n": len(rises)},
    }


def _best_of_others(losses: Sequence[Sequence[float]], number: int) -> int:
    others = [own for n, own in enumerate(losses) if n != number] or [losses[number]]
    mean = _means(others)
    return mean.index(min(mean))


def _means(losses: Sequence[Sequence[float]]) -> list[float]:
    return [sum(at) / len(losses) for at in zip(*losses, strict=True)]


def draw(url: str, curves: Mapping[str, dict[str, Any]]) -> None:
    """Writes an SVG of the rows (label → what `told` gives): means, from least to most as bands.

    Step 0 is left out, whose loss dwarfs all others.
    """
    svg = charts.svg("validation loss by step", lambda axes: _draw(axes, curves), 7.5, 3.6)
    writing.publish(url, svg.encode() + b"\n")


def _draw(axes: Axes, curves: Mapping[str, dict[str, Any]]) -> None:
    for (label, curve), colour in zip(curves.items(), cycle(COLOURS), strict=False):
        first = 1 if len(curve["steps"]) > 1 and curve["steps"][0] == 0 else 0
        steps, mean = curve["steps"][first:], curve["mean"][first:]
        seeds = [values[first:] for values in curve["seeds"].values()]
        axes.plot(steps, mean, "o-", color=colour, markersize=3, label=label)
        least, most = ([f(at) for at in zip(*seeds, strict=True)] for f in (min, max))
        axes.fill_between(steps, least, most, color=colour, alpha=0.18, linewidth=0)
    axes.set_xlabel("step")
    axes.set_ylabel("validation loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.3)
