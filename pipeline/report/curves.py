"""What the log of a run says step by step, as charts. docs/metrics.md has the fields."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipeline.report.charts import DROPPED, INK, KEPT, OTHER
from pipeline.report.folder import Line
from pipeline.report.tiles import visible

POINTS = 1000
"""Most points of a curve: of a longer log each is the mean of some neighbouring lines."""

CURVES, LETTERS = 12, 40
"""Most curves of one chart, and most letters of a label: names are as the log has them."""

ALONG = 4
"""Most validations whose loss along the sequence is drawn."""

LOSSES = ("causal", "prefix", "masked")
"""Forms of the validation that are on the scale of the training loss (trainer/validation.py)."""

STYLES = (("-", KEPT), ("--", INK), ("-.", DROPPED), (":", KEPT), ("-", INK), ("--", DROPPED))
"""Line and colour of the curves of one chart."""

Points = tuple[tuple[float, float], ...]
"""(x, y) from left to right."""


@dataclass(frozen=True)
class Chart:
    """One pair of axes with some curves."""

    title: str
    about: str
    x: str
    y: str
    curves: dict[str, Points]
    """Label → points; a curve of few points is drawn with its points marked."""
    faint: str = ""
    """Label of the curve that is drawn thin and grey, behind the others."""
    from_zero: bool = True
    """Whether the axis of figures begins at zero: not where a shape is what matters."""


def charts(lines: Sequence[Line]) -> list[Chart]:
    """All that the log has figures for, the loss first."""
    found = [_losses(lines), _judged(lines), along(lines), *_logged(lines)]
    return [chart for chart in found if chart.curves]


def _losses(lines: Sequence[Line]) -> Chart:
    forms = {f"validation, {form}": _validated(lines, form) for form in LOSSES}
    curves = {"training, one batch": _points(lines, lambda line: line.get("loss"))} | forms
    about = "Training is the loss of single steps; validation is of a set of its own."
    return Chart("Loss", about, "step", "loss", _drawable(curves), "training, one batch")


def _judged(lines: Sequence[Line]) -> Chart:
    """Figures of a validation that are no losses, as a filter has them."""
    names = {name for line in lines for name in line.get("validation") or {}}
    curves = {name: _validated(lines, name) for name in sorted(names - {*LOSSES})}
    return Chart("Held-out figures", "", "step", "figure", _drawable(curves))


def along(lines: Sequence[Line]) -> Chart:
    """The causal loss by place in the sequence, at the first, some and the last validation."""
    told = [line for line in lines if line.get("curve")]
    curves = {
        f"after {line['step']:,} steps": tuple(
            ((n + 0.5) / len(line["curve"]), loss)
            for n, loss in enumerate(line["curve"])
            if loss is not None
        )
        for line in spread(told, ALONG)
    }
    about = (
        "Of the validation set, from the first patches to the last (AIM figure 7): what has seen "
        "more of an image guesses its next patch better."
    )
    place = "place in the sequence, as a share of it"
    found = _drawable(curves)
    return Chart("Loss along the sequence", about, place, "loss, causal", found, from_zero=False)


def _logged(lines: Sequence[Line]) -> list[Chart]:
    waits = sorted({name for line in lines for name in line.get("waits") or {}})
    return [
        _single(lines, "Learning rate", "lr", ""),
        _single(lines, "Gradient norm", "grad_norm", "L2 norm of whole gradients before the clip."),
        _single(lines, "Speed", "images_per_second", "Images a second, of all ranks."),
        Chart(
            "Waits",
            "Shares of the time that the first rank waited for data.",
            "step",
            "share of time",
            _drawable({name: _points(lines, _wait(name)) for name in waits}),
        ),
    ]


def _wait(name: str) -> Callable[[Line], Any]:
    return lambda line: (line.get("waits") or {}).get(name)


def _single(lines: Sequence[Line], title: str, field: str, about: str) -> Chart:
    points = _points(lines, lambda line: line.get(field))
    return Chart(title, about, "step", field, _drawable({field: points}))


def _validated(lines: Sequence[Line], form: str) -> Points:
    return _points(lines, lambda line: (line.get("validation") or {}).get(form))


def _points(lines: Iterable[Line], figure: Callable[[Line], Any]) -> Points:
    """(step, figure) of the lines that have it; null is a figure that was not finite."""
    found = [(line["step"], figure(line)) for line in lines]
    return thinned([(step, value) for step, value in found if isinstance(value, int | float)])


def thinned(points: Sequence[tuple[float, float]]) -> Points:
    """At most POINTS of them, each the mean of as many neighbours."""
    each = -(-len(points) // POINTS) or 1
    groups = [points[at : at + each] for at in range(0, len(points), each)]
    return tuple(
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    )


def spread(items: Sequence[Line], count: int) -> list[Line]:
    """At most `count` of the items: the first, the last, and some between at even distances."""
    if len(items) <= count:
        return list(items)
    return [items[round(n * (len(items) - 1) / (count - 1))] for n in range(count)]


def _drawable(curves: dict[str, Points]) -> dict[str, Points]:
    return {label: points for label, points in curves.items() if points}


def draw(axes: Axes, chart: Chart) -> None:
    """All curves of a chart, with a legend if there are several."""
    styles = cycle(STYLES)
    for label, points in islice(chart.curves.items(), CURVES):
        line, colour = ("-", OTHER) if label == chart.faint else next(styles)
        marker = "o" if len(points) <= ALONG * 10 and label != chart.faint else ""
        shown: dict[str, Any] = {
            "color": colour,
            "marker": marker,
            "markersize": 3.5,
            "label": visible(label)[:LETTERS],
        }
        axes.plot(*zip(*points, strict=True), line, **shown)
    axes.set_xlabel(chart.x)
    axes.set_ylabel(chart.y)
    if chart.from_zero:
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    if chart.x == "step":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(chart.curves) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.3)
