"""Deciding: one verdict, with its reason, for every pool image.

A pure function of the ledger and the config: the same rows get the same verdicts on any engine,
in any number of parts. Rules that look at one row are in `judge.py`; those that compare rows with
each other follow here in their order: score cuts, duplicates, quotas. Last, kept rows get their
places in shards.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import plan
from pipeline.decide import cut, duplicates, layout, over_quota
from pipeline.decide import selection as subset
from pipeline.decide.config import DecideConfig
from pipeline.decide.engine import Engine, Handle
from pipeline.decide.heritage import Heritage, Parent, drop_gone, held
from pipeline.decide.judge import Prepared, judge
from pipeline.decide.judge import columns as judge_columns
from pipeline.decide.layout import Span, WriteConfig
from pipeline.decide.pool import Load, Pool

ALONE = Parent()
"""No parent: all kept rows go to new shards."""

PLACE = ("source", "key", "offset", "uid")


@dataclass(frozen=True)
class Decided:
    """The verdicts on a pool."""

    tables: list[Handle]
    """PLAN_SCHEMA, one for each part, in pool order."""
    spans: list[Span | None]
    """The new shards that each part's rows go to."""
    heritage: Heritage
    """What is taken over of the parent's shards."""
    sha256: str
    """What names the verdicts; the same for the same verdicts."""
    counts: dict[str, int]
    """Rows by reason, kept ones as `kept`: they add up to the pool."""
    cuts: list[dict[int, float]]
    """For each score cut, the lowest score that passed, by generation."""
    selected: dict[str, int]
    """Of a uid subset: entries listed, those that repeat another, and those missing in the pool."""


def columns(config: DecideConfig) -> set[str]:
    """Ledger columns without which a config cannot be decided."""
    more = [cut.columns(one) for one in config.cuts]
    more += [duplicates.columns(config.duplicates)] if config.duplicates else []
    return judge_columns(config).union(*more)


def number_columns(config: DecideConfig) -> set[str]:
    """Those of the columns that are compared with a bound, and must hold numbers."""
    safety = set(config.safety.max) if config.safety else set()
    return {*config.rules.ranges, *safety, *(one.score for one in config.cuts)}


def decide(
    engine: Engine,
    pool: Pool,
    prepared: Prepared,
    config: DecideConfig,
    write: WriteConfig,
    parent: Parent = ALONE,
    tell: Callable[[str], None] = lambda step: None,
) -> Decided:
    """Judges every row of the pool. `tell` hears of each step that begins.

    The verdicts do not depend on `parent`, but that no row of a part that is gone enters; where the
    kept rows lie does.
    """
    tell("rules of one row")
    pool = replace(pool, load=engine.share(pool.load))
    shared = engine.share(prepared)
    first_rows = pool.bounds[:-1].tolist()
    load = repeat(pool.load)
    replaced = [part in pool.replaced for part in pool.parts]
    places = load, pool.parts, first_rows, pool.generations, replaced
    tables = engine.map(judge, *places, repeat(config), repeat(shared))
    selected = _selected(engine, pool, prepared)
    cuts = []
    for cut_config in config.cuts:
        tell(f"cut by {cut_config.score}")
        scores = engine.map(scores_of, load, pool.parts, repeat(cut_config.score))
        tables, found = cut.apply(engine, tables, scores, pool.generations, cut_config)
        cuts.append(found)
    if config.duplicates:
        tell("duplicates")
        tables = duplicates.apply(engine, pool, tables, config.duplicates)
    if config.quotas:
        tell(f"quotas per {config.quotas.per}")
        tables = over_quota.apply(engine, pool, tables, config.quotas)
    tell("places in shards")
    before = engine.map(held, repeat(engine.share(parent)), range(len(tables)), tables)
    gone = [part in pool.gone for part in pool.parts]
    tables = engine.map(drop_gone, tables, before, gone)
    placed, spans, heritage = layout.apply(engine, pool, tables, before, write, parent)
    plans = engine.map(planned, load, pool.parts, tables, placed)
    digests = [engine.get(found) for found in engine.map(plan.digest, plans)]
    counts = sum((Counter(engine.get(n)) for n in engine.map(plan.counts, plans)), Counter[str]())
    name = plan.name_of(pool.parts, digests)
    told = dict(sorted(counts.items()))
    return Decided(plans, spans, heritage, name, told, cuts, selected)


def _selected(engine: Engine, pool: Pool, prepared: Prepared) -> dict[str, int]:
    selection = prepared.selection
    if not selection:
        return {}
    found = engine.map(listed_here, repeat(pool.load), pool.parts, repeat(selection))
    met = subset.distinct(selection, map(engine.get, found))
    missing = selection.listed - selection.repeats - met
    return {"listed": selection.listed, "repeats": selection.repeats, "missing": missing}


def listed_here(load: Load, part: str, selection: subset.Selection) -> npt.NDArray[np.int64]:
    """Which entries of a subset file a part holds."""
    return subset.met(selection, load(part, {"uid"})["uid"])


def scores_of(load: Load, part: str, column: str) -> npt.NDArray[np.float32]:
    """One score column of a part, NaN where there is none."""
    return load(part, {column})[column].cast(pa.float32()).fill_null(float("nan")).to_numpy()


def planned(load: Load, part: str, rows: pa.Table, places: pa.Table) -> pa.Table:
    """The verdicts of one part as they are published, PLAN_SCHEMA."""
    facts = load(part, PLACE)
    columns = {name: facts[name] for name in PLACE}
    columns |= {name: rows[name] for name in ("generation", "reason", "detail", "keeper")}
    columns |= {name: places[name] for name in places.column_names}
    columns["keep"] = rows["reason"].is_null()
    table = pa.table({name: columns[name] for name in plan.PLAN_SCHEMA.names})
    return table.cast(plan.PLAN_SCHEMA).combine_chunks()
