"""`headrace sweep`: an ablation of the paper with your data and sizes; see plan.py for its folder.

What is done is found done: a sweep that was killed goes on when it is run again, and gives the
bytes of one that was not.
"""

import json
from typing import Any

from jobs import mix
from jobs.config import MixConfig, MixSourceConfig
from jobs.console import console
from jobs.sweep import codebook, curves, gathering, running, text, unit
from jobs.sweep.config import SweepConfig
from jobs.sweep.cost import cost
from jobs.sweep.plan import Planned, Unit, planned, units
from pipeline.format import store, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import read_snapshot


def run(
    ablation: str,
    config: SweepConfig,
    only: str | None = None,
    ray: bool = False,
    workers: int | None = None,
) -> dict[str, Any]:
    """Does what is left of an ablation, or of its row `only`, and writes its table.

    Returns what is in table.json, all rows of it. Raises HeadraceError if the config does not fit,
    and, behind the table, if a row failed; `jobs.train.Ended` if a signal stopped a training here.
    """
    rows = planned(ablation, config, _pinned(config))
    todo = [one for one in units(_chosen(ablation, rows, only)) if not unit.is_done(one)]
    _mix(config, {data for row in _chosen(ablation, rows, only) for data in _data(config, row)})
    _check_probes(config, todo)
    for one in todo:
        codebook.fit_for(one, config.discrete.centroids)
    failed = running.on_ray(todo, config, workers) if ray and todo else running.here(todo)
    found = gathering.table(ablation, config, rows, failed)
    _publish(config, found)
    if failed:
        raise HeadraceError(_told(ablation, todo, failed))
    return found


def dry_run(ablation: str, config: SweepConfig, only: str | None = None) -> None:
    """Says what a run would do. Writes nothing, reads no image."""
    rows = planned(ablation, config, _pinned(config))
    chosen = _chosen(ablation, rows, only)
    for row in chosen:
        console.print(f"{row.row.label:28} {_said(row, config)}", markup=False, soft_wrap=True)
    all_ = units(chosen)
    left = [one for one in all_ if not unit.is_done(one)]
    flops = sum(cost(one.config, config.discrete).flops for one in left)
    console.print(
        f"{len(all_)} trainings, {len(all_) - len(left)} done; about {flops:.2g} FLOPs are left, "
        "without probes; nothing was written",
        soft_wrap=True,
    )


def _said(row: Planned, config: SweepConfig) -> str:
    if row.config is None:
        return f"not run: {row.row.missing}"
    one = cost(row.config, config.discrete)
    done = sum(unit.is_done(each) for each in row.units)
    return (
        f"{one.parameters:,} parameters ({one.shape}), {one.steps:,} steps, {one.flops:.2g} FLOPs; "
        f"{done} of {len(row.units)} seeds done; {row.units[0].folder.rpartition('/')[0]}"
    )


def _pinned(config: SweepConfig) -> dict[str, str]:
    """Validation sets by the snapshots that they are now."""
    return {name: read_snapshot(url).url for name, url in config.validation.items()}


def _chosen(ablation: str, rows: list[Planned], only: str | None) -> list[Planned]:
    chosen = [row for row in rows if only in (None, row.row.name)]
    if not chosen:
        names = ", ".join(row.row.name for row in rows)
        raise HeadraceError(f"--only {only}: no row of {ablation}; there are {names}")
    return chosen


def _data(config: SweepConfig, row: Planned) -> list[str]:
    return [] if row.config is None else [row.row.data or config.train_on]


def _mix(config: SweepConfig, wanted: set[str]) -> None:
    """Publishes what is not there yet: a dataset's latest snapshot is pinned the first time."""
    for data in sorted(wanted):
        url = config.mixture(data)
        if not store.exists(url):
            mix.run(MixConfig(mixture=url, sources=_sources(config, data)))


def _sources(config: SweepConfig, data: str) -> tuple[MixSourceConfig, ...]:
    """One of both, or both at their ratio. A source has one name in all, which keys its order."""
    sources, share = config.sources, config.sources.web_share
    ratios = {"web": share, "target": round(1 - share, 12)}
    names = ratios if data == "mix" else (data,)
    return tuple(
        MixSourceConfig(name=name, snapshot=getattr(sources, name), ratio=ratios[name])
        for name in names
    )


def _check_probes(config: SweepConfig, todo: list[Unit]) -> None:
    """Raises HeadraceError for what is wrong with the probe, before a training has run for days."""
    probes = [probe for one in todo for probe in one.probes]
    if not probes:
        return
    from jobs.evaluation import loading

    for probe in probes:  # the trunk is not there yet, so a file that is stands in
        loading.load(probe.fields | {"weights": todo[0].train["mixture"]}, "probe")


def _publish(config: SweepConfig, found: dict[str, Any]) -> None:
    folder = f"{config.folder}/{found['ablation']}"
    data = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
    if drawn := gathering.drawn(found["rows"]):
        curves.draw(f"{folder}/curves.svg", drawn)
    writing.publish(f"{folder}/table.md", text.markdown(found).encode())
    writing.publish(f"{folder}/table.json", data.encode() + b"\n")


def _told(ablation: str, todo: list[Unit], failed: dict[str, str]) -> str:
    lines = [
        f"{ablation}: {one.name}, seed {one.seed}: {failed[one.folder]}"
        for one in todo
        if one.folder in failed
    ]
    return "\n".join([*lines, f"{ablation}: {len(failed)} of {len(todo)} failed; run it again"])
