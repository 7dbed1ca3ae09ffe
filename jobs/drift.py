"""The drift gates of `headrace refresh`: what is new beside the parent, before it is published."""

from collections.abc import Callable
from functools import partial
from itertools import repeat

import pyarrow as pa

from jobs.config import CurateConfig
from jobs.decide import Decision, engine_for
from jobs.measure import Inputs
from pipeline import ledger, plan
from pipeline.assess.drift import NOTHING, Figures, Finding, columns, compare, figures, leaving
from pipeline.decide.engine import Engine
from pipeline.decide.pool import Pool
from pipeline.format import address, writing
from pipeline.format.snapshot import Snapshot
from pipeline.report import drift

PAGE = "drift.html"
"""Name of the page in the snapshot's folder."""


def check(
    config: CurateConfig,
    found: Inputs,
    decision: Decision,
    parent: Snapshot,
    workers: int | None = None,
) -> list[Finding]:
    """Holds what was decided against the parent, and writes the page about it.

    What is new are the parts that the parent does not have. Where there are none, or all was
    decided anew, the whole is held against the parent. Raises HeadraceError if facts or verdicts of
    either are missing.
    """
    url = address.join(config.dataset_url, "snapshots", decision.id)
    inherited = found.lineage.inherited
    # One ruler for both, but for a rebase: what only the parent has may not be measured by it.
    old = _pool(config, parent.url, found.families if inherited else parent.ledger)
    now = _pool(config, url, found.families)
    everything = range(len(now.parts))
    fresh = everything[inherited:] or everything
    scores = tuple(dict.fromkeys(cut.score for cut in config.decide.cuts))
    with engine_for(config, now, workers) as engine:
        before = _figures(engine, parent.url, old, range(len(old.parts)), scores)
        after = _figures(engine, url, now, fresh, scores)
    findings = compare(before, after, config.gates)
    if inherited:
        gone = len(decision.heritage.gone)
        findings.append(leaving(sum(decision.heritage.samples), gone, config.gates))
    names = f"parent {parent.id}", "new images" if fresh.start else "all images now"
    writing.publish(address.join(url, PAGE), drift.render(findings, before, after, names))
    return findings


def _pool(config: CurateConfig, snapshot: str, families: dict[str, str]) -> Pool:
    """The pool that a plan was decided on, its facts by these families."""
    sources = plan.read_sources(snapshot).to_pydict()
    parts, generations, rows = (tuple(sources[name]) for name in ("part", "generation", "rows"))
    load = partial(ledger.read_part, config.dataset_url, families)
    return Pool(parts, generations, rows, load)


def _figures(
    engine: Engine, snapshot: str, pool: Pool, numbers: range, scores: tuple[str, ...]
) -> Figures:
    """The figures of some parts, by number; each part is read where it is counted."""
    names = [pool.parts[number] for number in numbers]
    counted = engine.map(
        _of_part, repeat(pool.load), repeat(snapshot), numbers, names, repeat(scores)
    )
    return sum(map(engine.get, counted), NOTHING)


def _of_part(
    load: Callable[..., pa.Table], snapshot: str, number: int, part: str, scores: tuple[str, ...]
) -> Figures:
    facts = load(part, columns(scores))
    verdicts = plan.read_part(snapshot, number, ["reason"])
    return figures(facts.append_column("reason", verdicts["reason"]), scores)
