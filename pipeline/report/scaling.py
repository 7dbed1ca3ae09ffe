"""The page of `headrace scaling`: sizes and schedules side by side, from scaling.json alone."""

import json
from functools import partial
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from pipeline.report import charts, page
from pipeline.report.filters import COLOURS, interval
from pipeline.report.tiles import visible

Figures = dict[str, Any]

MARKERS, LINES = "osD^vPX*", ("-", "--", "-.")
"""With the colours, so that more runs than colours are still told apart."""


def render(figures: Figures) -> bytes:
    """The page about one study. The same figures give the same bytes."""
    facts = {
        "found": figures,
        "steps": _drawn("loss by step", draw_steps, figures),
        "compute": _drawn("loss by compute", draw_compute, figures),
        "accuracies": [
            (one, _drawn(f"{visible(one['measure'])} by loss", draw_accuracy, one))
            for one in figures["accuracy"]
        ],
        "sequence": _sequence(figures),
        "settings": json.dumps(figures["config"], indent=1),  # control characters as escapes
        "interval": interval,
        "power": power,
        "loss": loss,
        "bounded": bounded,
    }
    return page.html("scaling.html", facts)


def _drawn(name: str, draw: Any, figures: Figures) -> Markup:
    width, height = page.CHART_INCHES
    return charts.svg(name, partial(draw, figures=figures), width, height * 1.2)


def _sequence(figures: Figures) -> Markup | None:
    if not any(run["curve"] for run in figures["runs"]):
        return None
    return _drawn("loss along the sequence", draw_sequence, figures)


def draw_steps(axes: Axes, figures: Figures) -> None:
    """A line a run, as figures 1, 4 and 5 have them."""
    for number, run in enumerate(figures["runs"]):
        steps, losses = _columns(run["points"], "step")
        axes.plot(steps, losses, **_style(number), label=visible(run["run"]))
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes, figures)


def draw_compute(axes: Axes, figures: Figures) -> None:
    """Log axes: what was passed on the way, the ends, and the law with its band (figure 6)."""
    law = figures["law"]
    if "band" in law:
        band = law["band"]
        axes.fill_between(band["flops"], band["low"], band["high"], color=charts.GRID, linewidth=0)
        axes.plot(band["flops"], band["value"], color=charts.INK, linestyle=":", label="the law")
    for number, run in enumerate(figures["runs"]):
        style = _style(number)
        # A run at 0 steps has no place on a log axis.
        flops, losses = _columns([one for one in run["points"] if one["step"]], "flops")
        line = style | {"marker": "", "linewidth": 0.8}
        axes.plot(flops, losses, **line, label=visible(run["run"]))
        if run["final"]:
            end = run["final"]["loss"]
            axes.errorbar(
                run["final"]["flops"], end["value"], _arms([end]), capsize=3,
                **style | {"markersize": 6, "linestyle": "none"},
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("training FLOPs")
    axes.xaxis.set_major_locator(LogLocator(numticks=9))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
    _plain(axes.yaxis)
    _finish(axes, figures)


def draw_accuracy(axes: Axes, figures: Figures) -> None:
    """One way of measuring: a point a run, the lower losses on the right (figures 1 and 4)."""
    for number, one in enumerate(figures["points"]):
        axes.errorbar(
            one["loss"]["value"], one["top1"]["value"], _arms([one["top1"]]), _arms([one["loss"]]),
            capsize=3, label=visible(one["run"]), **_style(number) | {"linestyle": "none"},
        )  # fmt: skip
    axes.invert_xaxis()
    axes.set_xlabel("validation loss, lower to the right")
    axes.set_ylabel("top-1")
    _legend(axes)


def draw_sequence(axes: Axes, figures: Figures) -> None:
    """Where in the sequence the loss is: equal parts, or every position (figure 7)."""
    for number, run in enumerate(figures["runs"]):
        if run["curve"]:
            count = len(run["curve"])
            place = (np.arange(count) + 0.5) / count
            style = _style(number) | {"marker": "", "linewidth": 1.5}
            axes.plot(place, run["curve"], **style, label=visible(run["run"]))
    axes.set_xlim(0, 1)
    axes.set_xlabel("place in the sequence, as a share of it")
    axes.set_ylabel("loss, causal")
    _legend(axes)


def _style(number: int) -> dict[str, Any]:
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": LINES[number // len(COLOURS) % len(LINES)],
        "markersize": 4,
    }


def _columns(points: list[Figures], x: str) -> tuple[list[float], list[float]]:
    return [one[x] for one in points], [one["loss"] for one in points]


def _arms(found: list[Figures]) -> Any:
    """Of error bars, (2, n): below and above, never negative."""
    value, low, high = (np.array([one[name] for one in found]) for name in ("value", "low", "high"))
    return np.stack([value - np.minimum(low, value), np.maximum(high, value) - value])


def _plain(axis: Axis) -> None:
    """A few round numbers on a log axis that may span less than a decade."""
    axis.set_major_locator(MaxNLocator(6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _finish(axes: Axes, figures: Figures) -> None:
    axes.set_ylabel(f"validation loss, {figures['form']}")
    _legend(axes)


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, borderaxespad=0.3)


def power(value: float) -> str:
    """A large number as 1.2e+20 is spoken of: 1.2e20."""
    return f"{value:.3g}".replace("e+", "e")


def loss(found: Figures | None) -> str:
    """A final loss, with its interval where there is one; a dash where the run has none."""
    if found is None:
        return "-"
    return bounded(found) if found["low"] < found["high"] else f"{found['value']:.4g}"


def bounded(found: Figures) -> str:
    """A figure of any size with its 95% interval."""
    value, low, high = (power(found[name]) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
