"""Where the images of one source of a run come from: its snapshot, that one's parents, its pool.

What cannot be read any more is told in words, and the rest is shown.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pyarrow.compute as pc

from pipeline import plan
from pipeline.format import chain, retired
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, canonical_json, read_snapshot

T = TypeVar("T")

PATTERNS, PARENTS = 20, 12
"""Most that are shown of a pool's sources, and of a chain."""


@dataclass(frozen=True)
class Pool:
    """What a snapshot was decided on, as its sources.parquet has it."""

    parts: int
    rows: int
    nbytes: int
    generations: int


@dataclass(frozen=True)
class Ancestry:
    """One source of a run, back to the pool."""

    name: str
    url: str
    samples: int | None
    weight: int | None
    drawn: int | None
    snapshot: Snapshot | None
    """None if it is none, or cannot be read."""
    parents: tuple[str, ...]
    """Ids along the chain, the nearest first; at most PARENTS."""
    pool: Pool | None
    successor: str
    """URL of the snapshot that followed, if this one was retired."""
    troubles: tuple[str, ...]

    @property
    def patterns(self) -> list[str]:
        """URLs that the curation's config names as its sources."""
        told = self.snapshot.config.get("sources") if self.snapshot else None
        return [str(one.get("url")) for one in told or [] if isinstance(one, dict)]

    @property
    def config_sha256(self) -> str:
        """Of the curation's config, keys sorted."""
        config = self.snapshot.config if self.snapshot else {}
        return hashlib.sha256(canonical_json(config)).hexdigest()

    @property
    def counts(self) -> list[tuple[str, int]]:
        """Pool images by reason: kept ones, then the largest."""
        counts = self.snapshot.counts if self.snapshot else {}
        return sorted(counts.items(), key=lambda one: (one[0] != "kept", -one[1], one[0]))


def trace(name: str, told: dict[str, Any], drawn: int | None) -> Ancestry:
    """Follows a source back, of which a run knows its `url`, and maybe `samples` and `weight`."""
    url, troubles = str(told.get("url", "")), list[str]()
    snapshot = _try(troubles, lambda: read_snapshot(url)) if "/snapshots/" in url else None
    parents = pool = successor = None
    if snapshot:
        parents = _try(troubles, partial(_parents, snapshot))
        pool = _try(troubles, partial(_pool, snapshot.url))
        successor = _try(troubles, partial(_successor, snapshot.url))
    return Ancestry(
        name=name,
        url=url,
        samples=told.get("samples"),
        weight=told.get("weight"),
        drawn=drawn,
        snapshot=snapshot,
        parents=parents or (),
        pool=pool,
        successor=successor or "",
        troubles=tuple(troubles),
    )


def _try(troubles: list[str], read: Callable[[], T]) -> T | None:
    """What `read` returns; None, and the reason among the troubles, if it cannot be had."""
    try:
        return read()
    except HeadraceError as error:
        troubles.append(str(error))
        return None


def _parents(snapshot: Snapshot) -> tuple[str, ...]:
    return tuple(one.id for one in chain.chain(snapshot)[1 : PARENTS + 1])


def _pool(snapshot: str) -> Pool:
    parts = plan.read_sources(snapshot)
    generations = pc.max(parts["generation"]).as_py()
    return Pool(
        parts=parts.num_rows,
        rows=pc.sum(parts["rows"]).as_py() or 0,
        nbytes=pc.sum(parts["nbytes"]).as_py() or 0,
        generations=0 if generations is None else generations + 1,
    )


def _successor(snapshot: str) -> str:
    return retired.successor_of(snapshot) if retired.is_retired(snapshot) else ""
