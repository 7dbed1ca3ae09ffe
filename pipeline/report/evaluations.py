"""What evaluations found of a run: their results.json, and tables that others made of many.

<run>/evaluations/<name>/results.json    kind, weights, config, data, classes, figures
<run>/evaluations/<name>/table.md        what a sweep or a benchmark's table came to
                        /curves.svg      the chart of a sweep
<run>/results.json                       what the run itself found, being a probe or a LoRA
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.format import address, store
from pipeline.format.errors import HeadraceError
from pipeline.report import figures, markdown
from pipeline.report.cells import Table
from pipeline.report.curves import Chart
from pipeline.report.tiles import data_uri

RESULTS, TABLE, CURVES = "results.json", "table.md", "curves.svg"

LARGEST_SVG = 500_000
"""Bytes of a chart beside a table: a larger one is not shown, so that the page stays small."""

FOUND = 100
"""Most folders in <run>/evaluations that are looked into."""


@dataclass(frozen=True)
class Evaluation:
    """One results.json."""

    url: str
    title: str
    weights: dict[str, Any]
    """What was evaluated: `weights` as they were named, the `run` that they are of if it is known,
    `sha256`, `step`, and the `digest` of what it was fed until then."""
    data: tuple[tuple[str, str, int | None], ...]
    """What a set was for, its URL, its samples."""
    classes: int | None
    tables: tuple[Table, ...]
    positions: Chart | None
    config: Any

    @property
    def where(self) -> str:
        """The run whose weights they are; where they lie, if it is not known."""
        return str(self.weights.get("run") or self.weights.get("weights") or "")


@dataclass(frozen=True)
class Given:
    """Tables that another job wrote, of this run and others."""

    url: str
    tables: tuple[Table, ...]
    curves: str | None
    """The chart beside them, as a data: URI."""


@dataclass(frozen=True)
class Found:
    """All that was evaluated, as far as it can be read."""

    evaluations: tuple[Evaluation, ...]
    tables: tuple[Given, ...]
    troubles: tuple[str, ...]
    """What lies in the run's folder and cannot be shown, and why."""


def find(run: str, folders: Iterable[str]) -> Found:
    """What lies in the folders that are named, then what lies in the run's, each file once.

    Raises HeadraceError if a named folder has nothing, or what cannot be read; of what is only
    found, that is told.
    """
    named = dict.fromkeys(url for folder in folders for url in _named(folder))
    lying, troubles = _lying(run)
    read = [_read(url) for url in named]
    for url in lying:
        try:
            read += [] if url in named else [_read(url)]
        except HeadraceError as error:
            troubles.append(str(error))
    return Found(
        evaluations=tuple(one for one in read if isinstance(one, Evaluation)),
        tables=tuple(one for one in read if isinstance(one, Given)),
        troubles=tuple(troubles),
    )


def _named(folder: str) -> list[str]:
    if not (found := _files(address.absolute(folder))):
        raise HeadraceError(
            f"{folder}: neither {RESULTS} nor {TABLE} in it; --evaluation takes a folder that "
            "`headrace eval` or `headrace sweep` finished"
        )
    return found


def _lying(run: str) -> tuple[list[str], list[str]]:
    """The files in a run's folder, and what is wrong with it."""
    inside = address.join(run, "evaluations")
    names = sorted(store.names(inside))
    files, troubles = [url for url in _files(run) if url.endswith(RESULTS)], list[str]()
    for name in names[:FOUND]:
        found = _files(address.join(inside, name))
        files += found
        if not found:
            troubles.append(f"{address.join(inside, name)}: no {RESULTS} in it: it did not end")
    if len(names) > FOUND:
        troubles.append(f"{inside}: {len(names) - FOUND:,} more in it are not shown")
    return files, troubles


def _files(folder: str) -> list[str]:
    found = (address.join(folder, name) for name in (RESULTS, TABLE))
    return [url for url in found if store.exists(url)]


def _read(url: str) -> Evaluation | Given:
    try:
        text = store.read_bytes(url).decode()
        if url.endswith(f"/{TABLE}"):
            return Given(url, tuple(markdown.tables(text)), _curves(url))
        return _results(url, json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HeadraceError(f"{url}: not written by headrace: {error!r}") from error


def _curves(table: str) -> str | None:
    """As an image, never as markup: in one a browser runs no script and loads nothing."""
    url = table.removesuffix(TABLE) + CURVES
    if not store.exists(url) or store.stat(url).nbytes > LARGEST_SVG:
        return None
    return data_uri(store.read_bytes(url), "image/svg+xml")


def _results(url: str, value: dict[str, Any]) -> Evaluation:
    kind, found = value["kind"], value["figures"]
    sets = {name: one for name, one in (value.get("data") or {}).items() if one}
    return Evaluation(
        url=url,
        title=figures.title(kind),
        weights=dict(value["weights"]),
        data=tuple((name, str(one["snapshot"]), one.get("samples")) for name, one in sets.items()),
        classes=value.get("classes"),
        tables=figures.tables(kind, found),
        positions=figures.positions(found) if kind == "loss" else None,
        config=value.get("config"),
    )
