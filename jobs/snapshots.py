"""`headrace snapshots`: all that a dataset has published, and what each costs and keeps."""

from dataclasses import dataclass

from pipeline.format import address, chain, retired
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, latest


@dataclass(frozen=True)
class Entry:
    """One snapshot, as the list shows it."""

    id: str
    parent: str | None
    beside: bool
    """Not LATEST, and none of its ancestors."""
    retired: bool
    samples: int
    dropped: int
    """Pool images that are in no shard of it."""
    shards: int
    shared: int
    """Those of the shards that are its parent's too."""
    nbytes: int
    """Of all its shards; those that it shares are stored once."""
    counts: dict[str, int]
    """Pool images by reason, kept ones as `kept`."""


def run(dataset: str) -> list[Entry]:
    """The chain of LATEST, newest first, then the snapshots beside it.

    Raises HeadraceError if nothing was published, or a manifest cannot be read.
    """
    dataset = address.absolute(dataset)
    found = chain.published(dataset)
    if not found:
        raise HeadraceError(f"{dataset}: no snapshot here; curate it first, or name a dataset")
    by_id = {snapshot.id: snapshot for snapshot in found}
    newest = latest(dataset)
    line = {one.id for one in chain.chain(by_id[newest])} if newest else set()
    return [_entry(one, by_id.get(one.parent or ""), one.id not in line) for one in found]


def _entry(snapshot: Snapshot, parent: Snapshot | None, beside: bool) -> Entry:
    inherited = {shard.path for shard in parent.shards} if parent else set()
    return Entry(
        id=snapshot.id,
        parent=snapshot.parent,
        beside=beside,
        retired=retired.is_retired(snapshot.url),
        samples=snapshot.samples,
        dropped=sum(snapshot.counts.values()) - snapshot.counts.get("kept", 0),
        shards=len(snapshot.shards),
        shared=sum(shard.path in inherited for shard in snapshot.shards),
        nbytes=sum(shard.nbytes for shard in snapshot.shards),
        counts=snapshot.counts,
    )


COLUMNS = "{:16}  {:16}  {:>13}  {:>13}  {:>7}  {:>7}  {:>18}  {}"


def lines(entries: list[Entry]) -> list[str]:
    """A table, as a person reads it."""
    head = ("id", "parent", "kept", "dropped", "shards", "shared", "bytes", "")
    return [COLUMNS.format(*head).rstrip(), *map(_line, entries)]


def _line(entry: Entry) -> str:
    numbers = (entry.samples, entry.dropped, entry.shards, entry.shared, entry.nbytes)
    marks = [mark for mark in ("retired", "beside") if getattr(entry, mark)]
    notes = ", ".join(marks).replace("beside", "beside the chain")
    told = (entry.id, entry.parent or "-", *(f"{number:,}" for number in numbers), notes)
    return COLUMNS.format(*told).rstrip()
