"""`headrace plan --compare A B`: what a change of config would do, before anything is written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs import decide, measure
from jobs.config import CurateConfig, load
from pipeline.format import address, writing
from pipeline.format.snapshot import read_snapshot
from pipeline.report import comparison
from pipeline.report.comparison import Comparison
from pipeline.report.curation import Pool, pool_of


def run(one: str, other: str, sheet: str | None = None, workers: int | None = None) -> Comparison:
    """Compares two decisions on one pool, each a config file or a snapshot.

    Configs are decided from the ledger, which must hold all that they measure. With `sheet`, a
    page of the images that enter and leave is written there, and nothing else anywhere. Raises
    HeadraceError if the pools differ or something is not measured yet.
    """
    with decided(one, workers) as before, decided(other, workers) as after:
        found = comparison.compare(before, after)
        if sheet is not None:
            url = address.absolute(sheet)
            writing.publish(url, comparison.sheet(found, before, after, (one, other)))
    return found


@contextmanager
def decided(name: str, workers: int | None = None) -> Iterator[Pool]:
    """The verdicts of a config file, or those of a snapshot."""
    if not Path(name).is_file():
        yield pool_of(read_snapshot(name))
        return
    config = load(name, CurateConfig)
    inputs = measure.inputs(config)
    pool = decide.pool_of(config, inputs)
    sources = decide.sources_of(inputs.lineage, pool)
    with decide.engine_for(config, pool, workers) as engine:
        tables = decide.verdicts(engine, config, inputs, pool).tables
        yield Pool(
            config.dataset_url, inputs.families, sources, lambda part: engine.get(tables[part])
        )


def lines(found: Comparison) -> list[str]:
    """Counts by verdict side by side, then every move, as a person reads them."""
    told = [f"{'':20} {'A':>12} {'B':>12} {'change':>12}"]
    for reason in found.reasons:
        before, after = found.before[reason], found.after[reason]
        change = f"{after - before:+,}" if after != before else ""
        told.append(f"{reason:20} {before:>12,} {after:>12,} {change:>12}".rstrip())
    pool = found.before.total()
    told.append(f"{'pool images':20} {pool:>12,} {found.after.total():>12,}")
    if not found.moves:
        return [*told, "", "every image has the same verdict in both"]
    told += ["", f"{'in A':20} {'in B':20} {'images':>12}"]
    told += [f"{move.before:20} {move.after:20} {move.total:>12,}" for move in found.moves]
    enter, leave = (sum(move.total for move in moves) for moves in (found.entering, found.leaving))
    return [*told, "", f"{enter:,} enter, {leave:,} leave"]
