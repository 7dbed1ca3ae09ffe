"""The page of a training run: what it learnt, what was found of it, and what it comes from."""

import hashlib
import json
import shlex
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from markupsafe import Markup

from pipeline.format import address
from pipeline.format.snapshot import canonical_json
from pipeline.report import charts, curves, evaluations, lineage, training
from pipeline.report.evaluations import Evaluation, Found
from pipeline.report.exports import Export, is_of
from pipeline.report.folder import Line, read_config, read_log
from pipeline.report.page import html, plain
from pipeline.report.tiles import visible
from pipeline.report.training import Run

WIDE, HALF = (9.6, 3.3), (4.7, 2.6)
"""Inches of a chart that has the page's width, and of one of two side by side."""

CHARACTERS = 20_000
"""Most of a config that is shown: a list of classes may be long."""

WIDE_TITLES = ("Loss", "Held-out figures", "Loss along the sequence")


def render(folder: str, named: Iterable[str] = ()) -> bytes:
    """The page about the run in a folder. The same inputs give the same bytes.

    `named` are folders of evaluations and tables beside those in the run's own folder. Raises
    HeadraceError if the run, or one of them, cannot be read; what the run only points at and is
    gone is told on the page.
    """
    url = address.absolute(folder)
    config, lines = read_config(url), read_log(url)
    run, found = training.run_of(url, config, lines), evaluations.find(url, named)
    comes_from = lineage.read(url, config, lines, found.evaluations)
    facts = {
        "run": run,
        "title": title(config),
        "last": _last(lines),
        "charts": _charts(lines),
        "found": found,
        "judged": _judged(found, run, comes_from.exports),
        "lineage": comes_from,
        "planned": config["steps"] if isinstance(config.get("steps"), int) else None,
        "config_sha256": hashlib.sha256(canonical_json(config)).hexdigest(),
        "settings": settings,
        "quoted": lambda path: shlex.quote(visible(plain(path))),
    }
    return html("run.html", facts)


def settings(value: Any) -> str:
    """JSON with sorted keys, in ASCII, of bounded length."""
    text = json.dumps(value, indent=1, sort_keys=True)
    return text if len(text) <= CHARACTERS else text[:CHARACTERS] + "\n… and so on"


def title(config: dict[str, Any]) -> str:
    """What kind of run it is, by its config's fields."""
    model = config.get("model")
    name = f" of {model}" if isinstance(model, str) else ""
    if "mixture" in config:
        return f"A pre-training{name}"
    if "pairs" in config:
        return f"A filter's training{name}"
    if "classes" in config:
        return "A training on frozen weights"
    return "A training"


def _last(lines: Sequence[Line]) -> Line:
    return next((line for line in reversed(lines) if "loss" in line), {})


def _charts(lines: Sequence[Line]) -> list[tuple[curves.Chart, Markup, bool]]:
    """A chart, its drawing, and whether it has the page's width."""
    found = []
    for chart in curves.charts(lines):
        wide = chart.title in WIDE_TITLES
        found.append((chart, _drawn(chart.title, chart, WIDE if wide else HALF), wide))
    return found


def _drawn(name: str, chart: curves.Chart, size: tuple[float, float]) -> Markup:
    return charts.svg(name, partial(curves.draw, chart=chart), *size)


def _judged(
    found: Found, run: Run, exports: Iterable[Export]
) -> list[tuple[Evaluation, bool, Markup | None]]:
    """An evaluation, whether it is of this run's weights, and its chart if it has one.

    What the run itself found, being a probe, is its own whatever it probed.
    """
    told, own = [], address.join(run.url, evaluations.RESULTS)
    for number, one in enumerate(found.evaluations):
        chart = one.positions
        drawn = _drawn(f"evaluation {number}", chart, WIDE) if chart else None
        mine = one.url == own or is_of(one, run.url, exports)
        told.append((one, mine, drawn))
    return told
