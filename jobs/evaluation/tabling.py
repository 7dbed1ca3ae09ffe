"""What probes found, as the rows of AIM's Table 6: ours, then the published ones."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jobs.evaluation.published import BENCHMARKS, SIZES, TABLE_6, TABLES_7_8, Published, Size

Found = Mapping[str, Mapping[str, "dict[str, Any] | str"]]
"""Trunk → set → the results of its probe, or the line that says why there are none."""

KIND = "attentive"
"""The probe that Table 6 is made of."""

ROWS_OF_LAYERS = {
    "last": "attentive, last layers",
    "best": "attentive, best layers",
    "search": "attentive, best layers",
}
"""Where a probe's IN-1k belongs in Tables 7 and 8; chosen blocks by number belong nowhere."""


def figures_of(found: Found, layers: str | Sequence[int]) -> dict[str, Any]:
    """All that table.json holds: accuracies in percent, sets by their names in a config.

    `sets` has title, sizes and footnote of each; `ours` a row a trunk; `same` the sets that each
    trunk with any has, over which every row has a mean of its own, `mean_of_same`. A cell is null
    where no such set was named, and has `failed` where its probe did.
    """
    ours = [_row(trunk, results) for trunk, results in found.items()]
    same = _same(ours)
    return {
        "layers": layers if isinstance(layers, str) else list(layers),
        "sets": {key: _set(key, found) for key in BENCHMARKS},
        "same": same,
        "ours": [row | {"mean_of_same": _mean(_values(row["cells"]), same)} for row in ours],
        "published": [_published(row, same) for row in TABLE_6],
        "in1k": _in1k(ours, layers) if any("in1k" in results for results in found.values()) else [],
    }


def _row(trunk: str, results: Mapping[str, dict[str, Any] | str]) -> dict[str, Any]:
    cells = {key: _cell(results.get(key)) for key in BENCHMARKS}
    present = _values(cells)
    told = (one["weights"] for one in results.values() if isinstance(one, dict))
    return {
        "name": trunk,
        "weights": next(told, None),
        "cells": cells,
        "mean": _mean(present, present),
        "mean_of": len(present),
    }


def _cell(result: dict[str, Any] | str | None) -> dict[str, Any] | None:
    if result is None:
        return None
    if isinstance(result, str):
        return {"failed": result}
    figures = result["figures"][KIND]
    top1 = {end: _percent(figures["top1"][end]) for end in ("value", "low", "high")}
    return top1 | {"layers": figures["layers"], "chosen_on": figures["chosen_on"]}


def _percent(share: float) -> float:
    return round(100 * share, 2)


def _values(cells: Mapping[str, dict[str, Any] | None]) -> dict[str, float]:
    """Of the sets that there are."""
    return {key: cell["value"] for key, cell in cells.items() if cell and "value" in cell}


def _same(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Sets that all rows have which have any."""
    having = [_values(row["cells"]) for row in rows if row["mean_of"]]
    return [key for key in BENCHMARKS if having and all(key in values for values in having)]


def _mean(values: Mapping[str, float], keys: Iterable[str]) -> float | None:
    """Over some sets; None if there are no values."""
    some = [values[key] for key in keys if key in values]
    return round(sum(some) / len(some), 2) if some else None


def _published(row: Published, same: Iterable[str]) -> dict[str, Any]:
    cells = dict(zip(BENCHMARKS, row.values, strict=True))
    return {
        "name": row.name,
        "trunk": row.trunk,
        "cells": cells,
        "mean": row.mean,
        "mean_of_same": _mean(cells, same),
    }


def _set(key: str, found: Found) -> dict[str, Any]:
    size = BENCHMARKS[key].size
    results = (results.get(key) for results in found.values())
    used = next((_used(one) for one in results if isinstance(one, dict)), None)
    return {
        "title": BENCHMARKS[key].title,
        "paper": size and size._asdict(),
        "used": used and used._asdict(),
        "footnote": _footnote(used, size) if used else None,
    }


def _used(result: dict[str, Any]) -> Size:
    train, test = (result["data"][part]["samples"] for part in ("train", "test"))
    return Size(train, test, result["classes"])


def _footnote(used: Size, paper: Size | None) -> str | None:
    """What of a set is of another size than the paper's; None if nothing is."""
    words = ("training images", "test images", "classes")
    if paper is None:
        counts = ", ".join(f"{n:,} {word}" for n, word in zip(used, words, strict=True))
        return f"{counts}; of the paper's we do not know how many"
    differ = [
        f"{mine:,} {word}, the paper has {theirs:,}"
        for mine, theirs, word in zip(used, paper, words, strict=True)
        if mine != theirs
    ]
    return "; ".join(differ) or None


def _in1k(ours: Sequence[dict[str, Any]], layers: str | Sequence[int]) -> list[dict[str, Any]]:
    """Tables 7 and 8: a row for each thing that is trained, our trunks where their layers are."""
    mine = ROWS_OF_LAYERS.get(layers) if isinstance(layers, str) else None
    return [
        {
            "trained": trained,
            "published": dict(zip(SIZES, values, strict=True)),
            "ours": {
                row["name"]: row["cells"]["in1k"] if trained == mine else None for row in ours
            },
        }
        for trained, values in TABLES_7_8.items()
    ]


def failures(figures: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Trunk, title of the set, and reason, of each probe that failed."""
    for row in figures["ours"]:
        for key, cell in row["cells"].items():
            if cell and "failed" in cell:
                yield row["name"], BENCHMARKS[key].title, cell["failed"]
