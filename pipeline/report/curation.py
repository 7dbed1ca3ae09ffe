"""What a report reads of a dataset: the plan with its scores, and the facts of chosen rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import ledger
from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, read_parquet, read_snapshot

PLACE = ("source", "key", "offset")
FACTS = (*PLACE, "nbytes", "error", "sha256", "format", "width", "height", "caption")


@dataclass(frozen=True)
class Place:
    """Where a pool image lies: its identity."""

    source: str
    key: str
    offset: int


@dataclass(frozen=True)
class Row:
    """One pool image and its verdict."""

    place: Place
    uid: str
    reason: str | None
    detail: str | None
    score: float | None
    shard_key: str | None


@dataclass(frozen=True)
class Curation:
    """A snapshot, and the verdicts it was written from."""

    snapshot: Snapshot
    rows: pa.Table
    """The plan, with `clip_score` where it was measured; sorted by source, offset, key."""
    sources: pa.Table
    """source, format and ledger part of all that was read."""

    @property
    def formats(self) -> dict[str, str]:
        """Source → its pool format."""
        columns = (self.sources[name].to_pylist() for name in ("source", "format"))
        return dict(zip(*columns, strict=True))


def read_curation(dataset: str) -> Curation:
    """Reads `<dataset>/snapshots/<id>`, or the latest snapshot of `<dataset>`.

    Raises HeadraceError if a file is missing, or if plan, manifest and ledger disagree.
    """
    snapshot = read_snapshot(dataset)
    url = store.join(snapshot.url, "plan.parquet")
    plan, sources = read_parquet(url), read_parquet(store.join(snapshot.url, "sources.parquet"))
    if plan.num_rows != sum(snapshot.counts.values()):
        raise HeadraceError(
            f"{url}: has {plan.num_rows} rows, the manifest counts "
            f"{sum(snapshot.counts.values())}; the dataset is damaged: restore this file"
        )
    return Curation(snapshot, _with_scores(_sorted(plan), snapshot, sources), sources)


def _sorted(table: pa.Table) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in ("source", "offset", "key")])


def _with_scores(plan: pa.Table, snapshot: Snapshot, sources: pa.Table) -> pa.Table:
    if "clip" not in snapshot.ledger:
        return plan
    columns = [*PLACE, "clip_score"]
    parts = sources["part"].to_pylist()
    facts = _sorted(ledger.read(snapshot.dataset, snapshot.ledger, parts, columns))
    if facts.select(PLACE) != plan.select(PLACE):
        raise HeadraceError(
            f"{snapshot.url}: its plan and its ledger name different images; curate it again"
        )
    return plan.append_column("clip_score", facts["clip_score"])


def as_rows(table: pa.Table) -> list[Row]:
    """Rows of `Curation.rows` as objects; meant for the few that are shown."""
    return [
        Row(
            place=Place(row["source"], row["key"], row["offset"]),
            uid=row["uid"],
            reason=row["reason"],
            detail=row["detail"],
            score=_finite(row.get("clip_score")),
            shard_key=row["shard_key"],
        )
        for row in table.to_pylist()
    ]


def _finite(score: float | None) -> float | None:
    return score if score is not None and np.isfinite(score) else None


def facts_of(curation: Curation, places: Iterable[Place]) -> dict[Place, dict[str, Any]]:
    """The ledger's facts of some pool images; only the parts of their sources are read.

    Raises HeadraceError if the ledger has lost one of them.
    """
    wanted = set(places)
    image = {"image": curation.snapshot.ledger["image"]}
    keys = pa.array(sorted({place.key for place in wanted}), pa.string())
    named = pa.array(sorted({place.source for place in wanted}), pa.string())
    found = {}
    for part in curation.sources.filter(pc.is_in(curation.sources["source"], named))["part"]:
        facts = ledger.read(curation.snapshot.dataset, image, [part.as_py()], FACTS)
        for row in facts.filter(pc.is_in(facts["key"], keys)).to_pylist():
            place = Place(row["source"], row["key"], row["offset"])
            if place in wanted:
                found[place] = row
    for place in sorted(wanted - found.keys(), key=str):
        raise HeadraceError(
            f"{place.source}#{place.key}@{place.offset}: is in the plan, but no longer in the "
            "ledger; run `headrace measure` again"
        )
    return found
