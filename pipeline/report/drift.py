"""The page of a refresh's drift gates: what is new beside the parent, figure by figure."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from pipeline.assess import binned
from pipeline.assess.binned import Counts, Values
from pipeline.assess.drift import LEAVING, RATES, SIZES, Figures, Finding
from pipeline.decide.verdict import Reason
from pipeline.report import charts, page
from pipeline.report.reasons import KEPT, words
from pipeline.report.tiles import visible

BARS = 50

TAIL = 0.001
"""Share of the values of either side that may be drawn in the outermost bars."""


def render(
    findings: Sequence[Finding], before: Figures, after: Figures, names: tuple[str, str]
) -> bytes:
    """The page about two pools, whose `names` stand above their figures; same in, same bytes."""
    verdicts = before.verdicts + after.verdicts
    order = [KEPT, *(reason.value for reason in Reason)]
    facts = {
        "findings": findings,
        "out": sum(finding.out for finding in findings),
        "before": before,
        "after": after,
        "names": names,
        "reasons": [reason for reason in order if verdicts[reason]],
        "charts": [
            (found, _drawn(found.name, before, after, names))
            for found in findings
            if found.name not in (*RATES, LEAVING)
        ],
        "words": words,
        "shown": shown,
        "verdict": verdict,
    }
    return page.html("drift.html", facts)


def _drawn(name: str, before: Figures, after: Figures, names: tuple[str, str]) -> Markup | None:
    spreads = [side.spreads.get(name, Counts()) for side in (before, after)]
    if all(np.isnan(binned.quantile(spread, 0)) for spread in spreads):
        return None
    draw = partial(draw_spreads, name=name, spreads=spreads, names=names)
    return charts.svg(f"distribution of {visible(name)}", draw, *page.CHART_INCHES)


def draw_spreads(axes: Axes, name: str, spreads: Sequence[Counts], names: Sequence[str]) -> None:
    """The parent's values as grey bars, those of what is new as a line over them."""
    edges = edges_of(spreads, name in SIZES)
    one, other = (binned.bars(spread, edges) for spread in spreads)
    axes.stairs(one, edges, fill=True, color=charts.OTHER, label=visible(names[0]))
    axes.stairs(other, edges, color=charts.KEPT, linewidth=1.6, label=visible(names[1]))
    if name in SIZES and edges[0] > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(visible(name).replace("_", " "))
    axes.set_ylabel("share of the images")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.3)


def edges_of(spreads: Sequence[Counts], logarithmic: bool) -> Values:
    """Borders of BARS bars from the lowest thousandth of either side's values to the highest."""
    ends = [binned.quantile(spread, share) for spread in spreads for share in (TAIL, 1 - TAIL)]
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    if high == low:
        low, high = low - abs(low) / 2, high + (abs(high) / 2 or 1)
    if logarithmic and low > 0:
        return np.geomspace(low, high, BARS + 1)
    return np.linspace(low, high, BARS + 1)


def shown(finding: Finding, value: float) -> str:
    """One side's figure: a rate in percent, a median as a number; a dash where there is none."""
    if np.isnan(value):
        return "-"
    if finding.name in (*RATES, LEAVING):
        return f"{value:.1%}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def verdict(finding: Finding) -> str:
    """What a finding means, in a word or three."""
    return finding.why or ("out" if finding.out else "inside")


def lines(findings: Sequence[Finding]) -> list[str]:
    """The same table for a terminal: rates, and medians of distributions."""
    told = [f"{'':24} {'parent':>10} {'new':>10} {'distance':>10} {'allowed':>10}"]
    for found in findings:
        sides = f"{shown(found, found.before):>10} {shown(found, found.after):>10}"
        distance = "-" if np.isnan(found.distance) else f"{found.distance:.3f}"
        allowed = "-" if found.allowed is None else f"{found.allowed:.3f}"
        told.append(f"{found.name:24} {sides} {distance:>10} {allowed:>10}  {verdict(found)}")
    return told
