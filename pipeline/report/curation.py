"""What a report reads of a dataset: a few columns of all rows, and all about the few it shows."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import ledger, plan
from pipeline.decide.domains import domains
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, read_snapshot

VERDICT = ("uid", "generation", "keep", "reason", "detail", "keeper")
PLACE = ("source", "key", "offset")
FACTS = (*PLACE, "nbytes", "error", "sha256", "format", "width", "height", "caption", "clip_score")


@dataclass(frozen=True)
class Row:
    """One pool image: where it lies, what was measured, and its verdict."""

    number: int
    """Its place in the pool, counted from 0."""
    source: str
    key: str
    offset: int
    reason: str | None
    detail: str | None
    keeper: int | None
    """Number of the row that it duplicates."""
    shard_key: str | None
    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Where it lies, in one word."""
        return f"{self.source}#{self.key}@{self.offset}"


@dataclass(frozen=True)
class Pool:
    """A pool that was decided on: its parts in order, their facts, their verdicts."""

    dataset: str
    families: dict[str, str]
    """Ledger family → fingerprint."""
    sources: pa.Table
    """plan.SOURCES_SCHEMA."""
    verdicts: Callable[[int], pa.Table]
    """Number of a part → its rows of plan.PLAN_SCHEMA."""

    @property
    def formats(self) -> dict[str, str]:
        """Source → its pool format."""
        columns = (self.sources[name].to_pylist() for name in ("source", "format"))
        return dict(zip(*columns, strict=True))

    def facts(self, number: int, columns: Iterable[str]) -> pa.Table:
        """Those of the named ledger columns that were measured, of part `number`."""
        part = self.sources["part"][number].as_py()
        return ledger.read_part(self.dataset, self.families, part, set(columns))


@dataclass(frozen=True)
class Curation:
    """A snapshot, and what the sections of its report count."""

    snapshot: Snapshot
    pool: Pool
    rows: pa.Table
    """VERDICT, but for the detail its first word, `by`; then what was asked for. In pool order."""


def pool_of(snapshot: Snapshot) -> Pool:
    """The pool that a snapshot was made from."""
    sources = plan.read_sources(snapshot.url)
    return Pool(snapshot.dataset, snapshot.ledger, sources, partial(plan.read_part, snapshot.url))


def read_curation(dataset: str, columns: Callable[[Snapshot], set[str]]) -> Curation:
    """Reads `<dataset>/snapshots/<id>`, or the latest snapshot of `<dataset>`.

    `columns` says which facts of all rows are wanted; those that were not measured are left out,
    and `url` becomes `domain`.
    Raises HeadraceError if a file is missing, or if plan, manifest and ledger disagree.
    """
    snapshot = read_snapshot(dataset)
    pool, wanted = pool_of(snapshot), columns(snapshot)
    parts = [_part(snapshot, pool, number, wanted) for number in range(pool.sources.num_rows)]
    rows = pa.concat_tables(parts) if parts else plan.PLAN_SCHEMA.empty_table().select(VERDICT)
    if rows.num_rows != sum(snapshot.counts.values()):
        raise HeadraceError(
            f"{snapshot.url}: its plan has {rows.num_rows} rows, the manifest counts "
            f"{sum(snapshot.counts.values())}; the dataset is damaged: restore its plan folder"
        )
    return Curation(snapshot, pool, rows)


def _part(snapshot: Snapshot, pool: Pool, number: int, wanted: set[str]) -> pa.Table:
    rows = plan.read_part(snapshot.url, number, VERDICT)
    facts = pool.facts(number, wanted)
    if facts.num_rows != rows.num_rows:
        raise _another_pool(plan.part_url(snapshot.url, number))
    first_word = [detail and detail.partition(" ")[0] for detail in rows["detail"].to_pylist()]
    rows = rows.drop_columns(["detail"]).append_column("by", pa.array(first_word, pa.string()))
    if "url" in facts.column_names:
        rows = rows.append_column("domain", domains(facts["url"]).dictionary_encode())
    for name in sorted(set(facts.column_names) - {"url"}):
        rows = rows.append_column(facts.schema.field(name), facts[name])
    return rows


def rows_at(pool: Pool, numbers: Iterable[int]) -> dict[int, Row]:
    """All about some rows, by their number in the pool; meant for the few that are shown.

    Reads the parts that they lie in. Raises HeadraceError if plan and ledger disagree.
    """
    wanted = np.unique(np.fromiter(numbers, np.int64))
    first = pool.sources["first_row"].to_numpy()
    part_of = np.searchsorted(first, wanted, side="right") - 1
    found = {}
    for number in np.unique(part_of).tolist():
        here = wanted[part_of == number]
        at = pa.array(here - first[number])
        verdicts = pool.verdicts(number).take(at).to_pylist()
        facts = pool.facts(number, FACTS).take(at).to_pylist()
        for row, verdict, fact in zip(here.tolist(), verdicts, facts, strict=True):
            found[row] = _row(row, verdict, fact)
    return found


def _row(number: int, verdict: dict[str, Any], facts: dict[str, Any]) -> Row:
    if any(verdict[name] != facts[name] for name in PLACE):
        raise _another_pool(f"{verdict['source']}#{verdict['key']}@{verdict['offset']}")
    told = ("source", "key", "offset", "reason", "detail", "keeper", "shard_key")
    return Row(number=number, **{name: verdict[name] for name in told}, facts=facts)


def _another_pool(what: str) -> HeadraceError:
    return HeadraceError(f"{what}: plan and ledger name different images; curate it again")
