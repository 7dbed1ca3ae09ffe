"""The page of `headrace filter evaluate`: how well filters filter, from evaluation.json alone."""

import json
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from pipeline.report import charts, page
from pipeline.report.tiles import visible

COLOURS = (charts.KEPT, charts.DROPPED, "#4c8c5e", "#8a5a9e", "#a03b46", "#5d6b7a")
"""Of the filters, in their order; begun again where there are more."""

Figures = dict[str, Any]


def render(figures: Figures) -> bytes:
    """The page about one evaluation's figures. The same figures give the same bytes."""
    sources = [
        (source, list(rows))
        for source, rows in groupby(figures["scores"]["sources"], lambda row: row["source"])
    ]
    accounts = figures["accounts"]
    named = [("trusted", accounts["trusted"]), ("off_topic", accounts["off_topic"])]
    facts = {
        "found": figures,
        "accounts": [(name, one) for name, one in [*named, *accounts["pools"].items()]
                     if one["given"]],
        "precision": _drawn("clean share of the kept", draw_noise, figures),
        "sources": [
            (source, rows, _spread(source, rows, figures["scores"]["edges"]))
            for source, rows in sources
        ],
        "settings": json.dumps(figures["config"], indent=1),  # control characters as escapes
        "interval": interval,
        "share": share,
        "score": score,
        "cut": cut,
    }  # fmt: skip
    return page.html("filters.html", facts)


def _drawn(name: str, draw: Any, figures: Figures) -> Markup:
    return charts.svg(name, partial(draw, figures=figures), *page.CHART_INCHES)


def _spread(source: str, rows: list[Figures], edges: list[float]) -> Markup | None:
    if not any(row["count"] for row in rows):
        return None
    draw = partial(draw_scores, rows=rows, edges=np.array(edges))
    return charts.svg(f"scores of {visible(source)}", draw, *page.CHART_INCHES)


def draw_noise(axes: Axes, figures: Figures) -> None:
    """Precision of each filter's top fractions, with intervals, above the share by chance."""
    for number, (name, found) in enumerate(figures["filters"].items()):
        told = [one for one in found["top"] if one["precision"]["value"] is not None]
        value, low, high = (
            np.array([one["precision"][which] for one in told])
            for which in ("value", "low", "high")
        )
        # Filters stand side by side, so that one interval does not hide another.
        at = np.array([one["fraction"] for one in told]) + 0.004 * number
        axes.errorbar(
            at, value, [value - np.minimum(low, value), np.maximum(high, value) - value],
            color=COLOURS[number % len(COLOURS)], marker="o", markersize=4, capsize=3,
            label=visible(name),
        )  # fmt: skip
    clean = figures["noise"]["clean_share"]
    axes.axhline(clean, color=charts.INK, linewidth=1.2, linestyle=":", label="by chance")
    axes.set_xlabel("fraction kept")
    axes.set_ylabel("clean share of the kept")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, borderaxespad=0.3)


def draw_scores(axes: Axes, rows: list[Figures], edges: Any) -> None:
    """One source's scores by each filter, as shares of the scored."""
    counts = [np.array(row["histogram"]) for row in rows]
    filled = np.flatnonzero(sum(counts))
    for number, (row, count) in enumerate(zip(rows, counts, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        shares = count / max(1, count.sum())
        axes.stairs(shares, edges, color=colour, label=visible(row["filter"]), linewidth=1.5)
    axes.set_xlim(edges[max(0, filled[0] - 2)], edges[min(len(edges) - 1, filled[-1] + 3)])
    axes.set_xlabel("cosine of image and caption")
    axes.set_ylabel("share of the scored")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, borderaxespad=0.3)


def interval(found: Figures) -> str:
    """A figure with its 95% interval; a dash where it cannot be told."""
    if found["value"] is None:
        return "-"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def share(value: float | None) -> str:
    """A share in percent; a dash where it cannot be told."""
    return "-" if value is None else f"{value:.1%}"


def score(value: float | None) -> str:
    """A cosine; a dash where it cannot be told."""
    return "-" if value is None else f"{value:.3f}"


def cut(value: float | None) -> str:
    """The score of a cut, finer than `score`; a dash where nothing is kept."""
    return "-" if value is None else f"{value:.4f}"
