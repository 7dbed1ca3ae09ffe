"""`headrace decide`: one verdict per pool image, from the ledger alone."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs import cluster, metrics
from jobs.config import CurateConfig
from jobs.console import console
from jobs.engine import OnRay
from jobs.measure import Inputs
from jobs.record import recording
from pipeline import ledger, plan
from pipeline.decide.decide import Decided, decide
from pipeline.decide.engine import Engine, Local
from pipeline.decide.heritage import HELD, Heritage, Parent
from pipeline.decide.judge import columns, digests, prepare
from pipeline.decide.layout import Span
from pipeline.decide.pool import Pool
from pipeline.decide.views import PDQ_RADIUS, recall_of
from pipeline.format import address, writing
from pipeline.format.snapshot import parquet_bytes, snapshot_id
from pipeline.lineage import Lineage
from pipeline.pool import source

IN_PROCESS_ROWS = 50_000
"""Pools up to here are decided in this process, in a few seconds; larger ones on Ray."""

LISTINGS_AT_ONCE = 16


@dataclass(frozen=True)
class Decision:
    """What was decided, and the snapshot id that it determines. The plan lies under that id."""

    id: str
    identity: dict[str, Any]
    """What the snapshot's content depends on, beside the plan."""
    sha256: str
    counts: dict[str, int]
    spans: list[Span | None]
    heritage: Heritage
    not_downloaded: int
    """Rows of sidecars that never had an image: they are no part of the pool."""


def run(config: CurateConfig, found: Inputs, workers: int | None = None) -> Decision:
    """Decides, and keeps the plan and the list of sources under the snapshot's id.

    A plan that is the parent's has its id, and is kept there; a rebase has an id of its own.
    """
    with recording("decide", config.dataset_url, config) as record, record.stage("decide"):
        pool, parent = pool_of(config, found), found.lineage.parent
        sources = sources_of(found.lineage, pool)
        identity = identity_of(config)
        with engine_for(config, pool, workers) as engine:
            decided = verdicts(engine, config, found, pool)
            if parent and found.lineage.inherited and decided.sha256 == parent.plan_sha256:
                name = parent.id
            else:
                name = snapshot_id(identity, decided.sha256, parent.id if parent else None)
                folder = address.join(config.dataset_url, "snapshots", name)
                writing.publish(plan.sources_url(folder), parquet_bytes(sources))
                numbers = range(len(pool.parts))
                for done in engine.map(plan.write_part, repeat(folder), numbers, decided.tables):
                    engine.get(done)
        for verdict, count in decided.counts.items():
            metrics.count("headrace_images_decided", count, verdict)
        if config.decide.select:
            told = ", ".join(f"{count:,} {what}" for what, count in decided.selected.items())
            console.print(f"decide: entries of {config.decide.select.uids}: {told}")
        return Decision(
            id=name,
            identity=identity,
            sha256=decided.sha256,
            counts=decided.counts,
            spans=decided.spans,
            heritage=decided.heritage,
            not_downloaded=pc.sum(sources["not_downloaded"]).as_py() or 0,
        )


def identity_of(config: CurateConfig) -> dict[str, Any]:
    """What a snapshot's content depends on, beside the pool: the config, and the files it names."""
    return config.identity | {"files": digests(config.decide)}


def verdicts(engine: Engine, config: CurateConfig, found: Inputs, pool: Pool) -> Decided:
    """The verdicts on a pool; nothing is written."""
    prepared = prepare(config.decide, _references(config, found))
    near = config.decide.duplicates
    if near and near.radius is not None and near.radius != PDQ_RADIUS:
        found_by_it = recall_of(near.radius, windows=near.window_radius is not None)
        console.print(f"decide: {found_by_it}, {recall_of(PDQ_RADIUS)}")
    began = time.monotonic()

    def tell(step: str) -> None:
        console.print(f"decide: {time.monotonic() - began:6.1f} s  {step}")

    parent = _heritable(found.lineage)
    return decide(engine, pool, prepared, config.decide, config.write, parent, tell)


def _heritable(lineage: Lineage) -> Parent:
    """The shards and places that the parent's rows keep; of a rebase none."""
    if lineage.parent is None or not lineage.inherited:
        return Parent()
    samples = tuple(shard.samples for shard in lineage.parent.shards)
    load = partial(plan.read_part, lineage.parent.url, columns=HELD.names)
    return Parent(lineage.inherited, samples, load)


@contextmanager
def engine_for(config: CurateConfig, pool: Pool, workers: int | None = None) -> Iterator[Engine]:
    """This process for a small pool, Ray for a large one."""
    if sum(pool.rows) <= IN_PROCESS_ROWS:
        yield Local()
        return
    with cluster.session(workers):
        yield OnRay(options=config.stages.decide.options())


def pool_of(config: CurateConfig, found: Inputs) -> Pool:
    """The measured pool. Raises HeadraceError if a part is not in the ledger yet."""
    names = tuple(part.name for part in found.lineage.parts)
    count = partial(ledger.count_part, config.dataset_url, "image", found.families["image"])
    with ThreadPoolExecutor(LISTINGS_AT_ONCE) as threads:
        rows = tuple(threads.map(count, names))
    load = partial(ledger.read_part, config.dataset_url, found.families)
    lineage = found.lineage
    return Pool(names, lineage.generations, rows, load, lineage.replaced, lineage.gone)


def _references(config: CurateConfig, found: Inputs) -> pa.Table | None:
    """The facts of the evaluation images that the pool is checked against."""
    if not config.decide.decontaminate:
        return None
    wanted = columns(config.decide) | {"source", "key"}
    families = found.reference_families
    read = partial(ledger.read_part, config.dataset_url, families, columns=wanted)
    return pa.concat_tables([read(part.name) for part in found.references])


def sources_of(lineage: Lineage, pool: Pool) -> pa.Table:
    """The list of parts that a snapshot keeps beside its plan, SOURCES_SCHEMA."""
    with ThreadPoolExecutor(LISTINGS_AT_ONCE) as threads:
        counts = threads.map(source.counts, lineage.new)
        not_downloaded = [*lineage.not_downloaded, *(c.get("not_downloaded", 0) for c in counts)]
    columns = {
        "source": [part.source for part in lineage.parts],
        "format": [part.format for part in lineage.parts],
        "part": list(pool.parts),
        "nbytes": [part.nbytes for part in lineage.parts],
        "generation": list(pool.generations),
        "first_row": pool.bounds[:-1],
        "rows": list(pool.rows),
        "not_downloaded": not_downloaded,
    }
    return pa.table(columns, schema=plan.SOURCES_SCHEMA)
