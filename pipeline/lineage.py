"""The pool of a snapshot that goes on from another: the parent's parts, and then what is new."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import plan
from pipeline.decide.verdict import Reason
from pipeline.format.snapshot import Snapshot
from pipeline.pool.sample import Part


@dataclass(frozen=True)
class Lineage:
    """Parts in pool order. The numbers of the parent's rows are the same in all that descend."""

    parts: tuple[Part, ...]
    generations: tuple[int, ...]
    """Of each part: how many snapshots since the last rebase had brought parts before it."""
    parent: Snapshot | None = None
    inherited: int = 0
    """How many of the parts, the first ones, are the parent's."""
    gone: frozenset[str] = frozenset()
    """The parent's parts that the config's sources hold no more; their facts are in the ledger."""
    replaced: frozenset[str] = frozenset()
    """Those of them whose source had other bytes since, whether it is still there or not."""
    replaced_before: frozenset[str] = frozenset()
    """Those that the parent has as replaced already."""
    not_downloaded: tuple[int, ...] = ()
    """Of each inherited part: rows of its sidecar that never had an image."""

    @property
    def new(self) -> tuple[Part, ...]:
        """What the parent does not have."""
        return self.parts[self.inherited :]

    @property
    def is_as_before(self) -> bool:
        """Whether the pool is the parent's, part by part."""
        return not self.new and self.replaced == self.replaced_before


def root(listed: Sequence[Part], parent: Snapshot | None = None) -> Lineage:
    """All that is listed, decided anew: a first snapshot, or a rebase of `parent`."""
    return Lineage(tuple(listed), (0,) * len(listed), parent)


def after(parent: Snapshot, listed: Sequence[Part]) -> Lineage:
    """The parent's pool and what is listed beyond it, in generations.

    A source that is no longer listed keeps its parts and their verdicts. One that has other bytes
    than before has new parts beside the replaced ones, which stay replaced when it goes later.
    """
    known = plan.read_sources(parent.url).to_pylist()
    here = {part.name: part for part in listed}
    sources = {part.source for part in listed}
    old = tuple(here.get(row["part"]) or _remembered(row) for row in known)
    names = {row["part"] for row in known}
    new = tuple(part for part in listed if part.name not in names)
    gone = {row["part"] for row in known if row["part"] not in here}
    before = _replaced_in(parent, known)
    now = {row["part"] for row in known if row["source"] in sources}
    next_one = max((row["generation"] for row in known), default=-1) + 1
    return Lineage(
        parts=old + new,
        generations=tuple(row["generation"] for row in known) + (next_one,) * len(new),
        parent=parent,
        inherited=len(old),
        gone=frozenset(gone),
        replaced=frozenset(gone & (now | before)),
        replaced_before=frozenset(before),
        not_downloaded=tuple(row["not_downloaded"] for row in known),
    )


def _replaced_in(parent: Snapshot, known: Sequence[dict[str, Any]]) -> set[str]:
    """Parts that fell in the parent because their source had changed. Only of a source that came
    in several generations are verdicts read."""
    came = Counter(source for source, _ in {(row["source"], row["generation"]) for row in known})
    found = set()
    for number, row in enumerate(known):
        if came[row["source"]] > 1:
            reasons = plan.read_part(parent.url, number, ["reason"])["reason"]
            if pc.is_in(pa.scalar(Reason.SOURCE_REPLACED.value), value_set=reasons).as_py():
                found.add(row["part"])
    return found


def _remembered(row: dict[str, Any]) -> Part:
    """A part that can no longer be read, as the parent's list of sources has it."""
    return Part(row["format"], row["source"], row["part"], row["nbytes"])
