"""The report of a dataset, and of a training run if there is one: a single HTML file."""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline.format.snapshot import Snapshot
from pipeline.report import charts, histograms, training
from pipeline.report.curation import Curation, read_curation
from pipeline.report.duplicates import Copies, copies
from pipeline.report.funnel import funnel
from pipeline.report.reasons import explain
from pipeline.report.sheets import sheets, unreadable
from pipeline.report.tables import Origins, by_domain, by_source
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
    curation = read_curation(dataset, _columns)
    return html("report.html", _curation(curation) | _run(run, curation.snapshot.url))


def html(template: str, facts: dict[str, Any]) -> bytes:
    """A page of this folder, filled in."""
    return _environment().get_template(template).render(facts).encode("utf-8", "replace")


def _columns(snapshot: Snapshot) -> set[str]:
    return {"url"} | histograms.columns(snapshot.config.get("decide", {}), snapshot.ledger)


def _curation(curation: Curation) -> dict[str, Any]:
    snapshot, rows = curation.snapshot, curation.rows
    decide = snapshot.config.get("decide", {})
    counts = funnel(rows, decide)
    shown, duplicates = sheets(rows, counts), copies(rows)
    bad = unreadable(rows, UNREADABLE_SHOWN)
    chosen = [number for sheet in shown for number in sheet.rows]
    pictures = tiles(curation.pool, [*chosen, *_members(duplicates), *bad])
    return {
        "snapshot": snapshot,
        "dataset": plain(snapshot.dataset),
        "sources": sorted(curation.pool.formats),
        "funnel": counts,
        "sheets": shown,
        "duplicates": duplicates,
        "unreadable": bad,
        "histograms": [(found, _drawn(found)) for found in histograms.histograms(rows, decide)],
        "origins": _origins(curation),
        "altered": _is_altered(snapshot.config),
        "tiles": pictures,
        "lost": sum(tile.lost for tile in pictures.values()),
        "why": f"headrace why {shlex.quote(plain(snapshot.dataset))} ",
        "example": shlex.quote(visible(pictures[chosen[0]].row.key)) if chosen else "KEY",
    }


def _is_altered(config: Mapping[str, Any]) -> bool:
    """Whether kept images may differ from those that were found; see pipeline/write/alter.py."""
    return any(((config.get("write") or {}).get("alter") or {}).values())


def _members(duplicates: Iterable[Copies]) -> Iterator[int]:
    for kind in duplicates:
        for group in kind.groups:
            yield group.keeper
            yield from group.copies


def _drawn(found: histograms.Histogram) -> Markup:
    name = f"histogram of {found.column}"
    return charts.svg(name, partial(histograms.draw, found=found), *CHART_INCHES)


def _origins(curation: Curation) -> list[tuple[str, Origins]]:
    """What a table is of, and the table; those with a single line say nothing."""
    found = [
        ("source", by_source(curation.rows, curation.pool.sources)),
        ("domain", by_domain(curation.rows)),
    ]
    return [(kind, table) for kind, table in found if table and table.total > 1]


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
def _environment() -> jinja2.Environment:
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
        "signed": lambda number: f"{number:+,}" if number else "",
        "bytes": _bytes,
        "visible": visible,
        "config": lambda value: json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True),
    }
    environment.globals |= {"explain": explain}
    return environment
