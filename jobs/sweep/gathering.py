"""The figures of an ablation, from what its trainings and probes left: what table.json holds."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from jobs.sweep import curves, unit
from jobs.sweep.config import SweepConfig
from jobs.sweep.cost import cost
from jobs.sweep.directions import Values, directions
from jobs.sweep.intervals import t_interval
from jobs.sweep.plan import Planned, Unit, ablation
from jobs.sweep.published import ATTENTIVE, LINEAR, LOSS, TABLES, claims

PERCENT = 100


def table(
    name: str, config: SweepConfig, rows: list[Planned], failed: Mapping[str, str]
) -> dict[str, Any]:
    """All figures of an ablation, for JSON: what is done of it, whoever did it and when.

    failed: reasons by the folder of a unit. The same trainings and probes give the same value.
    """
    kind = ablation(name)
    accuracies: dict[str, dict[str, Values]] = {
        measure: {row.row.name: _accuracies(row, measure) for row in rows}
        for measure in (ATTENTIVE, LINEAR)
    }
    traced = {row.row.name: _traced(row) for row in rows}
    ends = {row: {s: c[max(c)] for s, c in seeds.items()} for row, seeds in traced.items()}
    values = accuracies | ({LOSS: ends} if kind.one_question else {})
    return {
        "kind": "sweep",
        "ablation": name,
        "table": kind.table,
        "title": kind.title,
        "note": kind.note,
        "seeds": list(config.seeds),
        "trained_on": None if name == "data-mix" else config.train_on,
        "losses_compare": kind.one_question,
        "rows": [_row(name, config, row, accuracies, traced, failed) for row in rows],
        "directions": directions(claims(name), values),
    }


def _row(
    name: str,
    config: SweepConfig,
    planned: Planned,
    accuracies: dict[str, dict[str, Values]],
    traced: dict[str, dict[int, dict[int, float]]],
    failed: Mapping[str, str],
) -> dict[str, Any]:
    row = planned.row
    return {
        "name": row.name,
        "label": row.label,
        "status": _status(planned, failed),
        "training": cost(planned.config, config.discrete)._asdict() if planned.config else None,
        "runs": [_below(config.folder, one.folder) for one in planned.units],
        "accuracy": {measure: summary(rows[row.name]) for measure, rows in accuracies.items()},
        "validation": {set_: _losses(planned, set_) for set_ in config.validation},
        "curve": curves.told(traced[row.name]),
        "published": TABLES[name][row.name]._asdict(),
    }


def _status(planned: Planned, failed: Mapping[str, str]) -> str:
    """`done`, or what keeps it from that."""
    if planned.row.missing:
        return f"not run: {planned.row.missing}"
    reasons = [
        f"seed {one.seed} failed: {failed[one.folder]}"
        for one in planned.units
        if one.folder in failed
    ]
    if reasons:
        return "; ".join(reasons)
    lacking = [str(one.seed) for one in planned.units if not unit.is_done(one)]
    return f"not done: seed {', '.join(lacking)}" if lacking else "done"


def _accuracies(planned: Planned, measure: str) -> dict[int, float]:
    """Top-1 in percent by seed."""
    found = {one.seed: _figures(one).get(measure) for one in planned.units}
    return {seed: PERCENT * kind["top1"]["value"] for seed, kind in found.items() if kind}


def _figures(one: Unit) -> dict[str, Any]:
    """Of the row's own probe: a planned row has no more than one."""
    found = [unit.results(probe) for probe in one.probes]
    return (found[0] if found else None) or {}


def _losses(planned: Planned, set_: str) -> dict[str, Any]:
    """Form → mean loss over seeds, with its interval."""
    found = {one.seed: unit.losses(one, set_) or {} for one in planned.units}
    forms = sorted({form for losses in found.values() for form in losses})
    return {
        form: summary({seed: losses[form] for seed, losses in found.items() if form in losses})
        for form in forms
    }


def _traced(planned: Planned) -> dict[int, dict[int, float]]:
    """Seed → step → validation loss, of trainings that have ended."""
    found = {
        one.seed: curves.of_run(one.train["run"])
        for one in planned.units
        if unit.is_trained(one.config)
    }
    return {seed: curve for seed, curve in found.items() if curve}


def summary(values: Values) -> dict[str, Any] | None:
    """Mean, interval and single values of some seeds, for JSON; None of none."""
    if not values:
        return None
    found = t_interval([values[seed] for seed in sorted(values)])
    told = {key: None if math.isnan(end) else end for key, end in found._asdict().items()}
    return told | {"n": len(values), "seeds": {str(seed): values[seed] for seed in sorted(values)}}


def _below(folder: str, path: str) -> str:
    return path.removeprefix(folder + "/")


def drawn(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Label → curve of the rows that have one."""
    return {row["label"]: row["curve"] for row in rows if row["curve"]}
