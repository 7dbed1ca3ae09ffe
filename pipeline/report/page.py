"""The report of a dataset, and of a training run if there is one: a single HTML file."""

import json
import shlex
from collections.abc import Iterable
from functools import cache, partial
from typing import Any

import jinja2

from pipeline.report import charts, scores, training
from pipeline.report.curation import Curation, Row, read_curation
from pipeline.report.duplicates import Group, groups
from pipeline.report.funnel import funnel
from pipeline.report.reasons import explain
from pipeline.report.sheets import sheets, unreadable
from pipeline.report.tiles import tiles, visible

UNREADABLE_SHOWN = 100
"""Rows in the list of unreadable files."""

CHART_INCHES = (9.6, 3.1)


def render(dataset: str, run_folder: str | None = None) -> bytes:
    """The page about a snapshot. The same inputs give the same bytes.

    `dataset` is a dataset or `<dataset>/snapshots/<id>`. Raises HeadraceError if it or the run
    cannot be read; an image that can no longer be read is a tile that says so.
    """
    run = training.read_run(run_folder) if run_folder is not None else None
    curation = read_curation(dataset)
    facts = _curation(curation) | _run(run, curation.snapshot.url)
    return _template().render(facts).encode("utf-8", "replace")


def _curation(curation: Curation) -> dict[str, Any]:
    snapshot, rows = curation.snapshot, curation.rows
    counts = funnel(rows, snapshot.config.get("decide", {}))
    shown = sheets(rows, counts)
    pairs, all_groups = groups(rows)
    bad = unreadable(rows, UNREADABLE_SHOWN)
    found = scores.scores(rows)
    chosen = [row for sheet in shown for row in sheet.rows]
    pictures = tiles(curation, [*chosen, *_members(pairs)])
    return {
        "snapshot": snapshot,
        "dataset": plain(snapshot.dataset),
        "sources": sorted(curation.formats),
        "funnel": counts,
        "sheets": shown,
        "groups": pairs,
        "all_groups": all_groups,
        "unreadable": bad,
        "scores": found,
        "histogram": found
        and charts.svg("histogram of scores", partial(scores.draw, found=found), *CHART_INCHES),
        "tiles": pictures,
        "lost": sum(tile.lost for tile in pictures.values()),
        "why": f"headrace why {shlex.quote(plain(snapshot.dataset))} ",
        "example": shlex.quote(visible(chosen[0].place.key)) if chosen else "KEY",
    }


def _members(pairs: Iterable[Group]) -> Iterable[Row]:
    for group in pairs:
        yield group.keeper
        yield from group.copies


def _run(run: training.Run | None, snapshot: str) -> dict[str, Any]:
    losses = None
    if run and (run.losses or run.validation):
        losses = charts.svg("loss by step", partial(training.draw, run=run), *CHART_INCHES)
    learnt = run is not None and any(share.snapshot == snapshot for share in run.shares)
    return {"run": run, "losses": losses, "learnt_from_it": learnt}


def plain(url: str) -> str:
    """A URL as a person would type it."""
    return url.removeprefix("file://")


def _percent(share: float) -> str:
    """One decimal place, but never 0.0% of something or 100.0% of not everything."""
    if 0 < share < 0.0005:
        return "< 0.1%"
    if 0.9995 <= share < 1:
        return "> 99.9%"
    return f"{share:.1%}"


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} bytes"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline", "report"),
        autoescape=True,  # captions, keys and file names are a stranger's text
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "plain": plain,
        "percent": _percent,
        "count": lambda number: f"{number:,}",
        "bytes": _bytes,
        "config": lambda value: json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True),
    }
    environment.globals |= {"explain": explain}
    return environment.get_template("report.html")
