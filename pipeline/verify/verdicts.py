"""Whether a plan is whole: its rows, its counts, and the places that it gives to kept images."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import plan
from pipeline.format import address
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, read_parquet
from pipeline.verify.damage import listed, read_sound

PLACE = ["shard", "position", "shard_key"]


@dataclass(frozen=True)
class Part:
    """What the verdicts of one part of the pool were found to be."""

    number: int
    damages: tuple[str, ...]
    digest: bytes = b""
    """As plan.digest gives it; empty if the part cannot be read."""
    counts: Counter[str] = field(default_factory=Counter)
    """Rows by reason, kept ones as `kept`."""
    shards: tuple[int, ...] = ()
    """Those that its kept rows go to."""


def check_part(snapshot_url: str, number: int, rows: int) -> Part:
    """Looks through the verdicts of one part, which the list of sources gives `rows` rows."""
    url = plan.part_url(snapshot_url, number)
    try:
        table = read_sound(url, plan.PLAN_SCHEMA)
    except HeadraceError as error:
        return Part(number, (str(error),))
    damages = tuple(listed(_rows(url, table, rows)))
    shards = tuple(table["shard"].unique().drop_null().to_pylist())
    return Part(number, damages, plan.digest(table), Counter(plan.counts(table)), shards)


def _rows(url: str, table: pa.Table, rows: int) -> Iterator[str]:
    if table.num_rows != rows:
        yield f"{url}: has {table.num_rows:,} rows, and sources.parquet says {rows:,}"
    kept = pc.is_null(table["reason"])
    odd = [pc.not_equal(kept, pc.is_valid(table[name])) for name in PLACE]
    for wrong in (pc.not_equal(kept, table["keep"]), *odd):
        if pc.any(wrong).as_py():
            row = pc.index(wrong, True).as_py()
            yield f"{url}: row {row} is neither kept, with a place, nor dropped, with a reason"
            return


def check_whole(snapshot: Snapshot, names: Sequence[str], parts: Sequence[Part]) -> Iterator[str]:
    """Whether all parts, in their order and all of them readable, are what the manifest says.

    `names` are those that the list of sources gives them.
    """
    digests = [part.digest for part in parts]
    # Snapshots of before plans were named by their parts, too.
    older = hashlib.sha256(b"".join(digests)).hexdigest()
    if snapshot.plan_sha256 not in (plan.name_of(names, digests), older):
        yield f"{address.join(snapshot.url, 'plan')}: not the verdicts that plan_sha256 names"
    counts = Counter[str]()
    for part in parts:
        counts.update(part.counts)
    for reason in sorted(counts.keys() | snapshot.counts.keys()):
        if counts[reason] != (said := snapshot.counts.get(reason, 0)):
            yield (
                f"{address.join(snapshot.url, 'manifest.json')}: counts {said:,} {reason}, "
                f"and the plan has {counts[reason]:,}"
            )


def parts_of_shards(parts: Iterable[Part]) -> dict[int, list[int]]:
    """Number of a shard → the parts that it has rows of, in pool order."""
    found: dict[int, list[int]] = {}
    for part in parts:
        for shard in part.shards:
            found.setdefault(shard, []).append(part.number)
    return found


def check_numbers(snapshot: Snapshot, shards: Iterable[int]) -> Iterator[str]:
    """Whether the shards that a plan sends images to are among the manifest's."""
    for number in sorted(set(shards) - set(range(len(snapshot.shards)))):
        yield (
            f"{address.join(snapshot.url, 'plan')}: sends images to shard {number}, "
            f"and the manifest has {len(snapshot.shards):,}"
        )


def check_places(
    snapshot_url: str, shard: int, index_url: str, parts: Sequence[int]
) -> Iterator[str]:
    """Whether a shard's index has the rows that these parts of the plan send there, as they say.

    Holds the rows of one shard, and a narrow part.
    """
    held = set(enumerate(read_parquet(index_url, ["key"])["key"].to_pylist()))
    planned = set[tuple[int, str]]()
    for part in parts:
        rows = _sent(snapshot_url, part, shard)
        if wrong := sorted(rows - held):
            place, key = wrong[0]
            yield (
                f"{plan.part_url(snapshot_url, part)}: {len(wrong):,} images are not where it "
                f"says: {index_url} has no key {key} at place {place}"
            )
        planned |= rows
    if strange := sorted(held - planned):
        place, key = strange[0]
        yield (
            f"{index_url}: has {len(strange):,} images that the plan of {snapshot_url} does not "
            f"put there: key {key} at place {place}"
        )


def _sent(snapshot_url: str, part: int, shard: int) -> set[tuple[int, str]]:
    """(place, key) of the rows that a part has in a shard."""
    rows = plan.read_part(snapshot_url, part, PLACE)
    rows = rows.filter(pc.equal(rows["shard"], shard))
    return set(zip(rows["position"].to_pylist(), rows["shard_key"].to_pylist(), strict=True))


def keys(snapshot_url: str, part: int, first: int) -> pa.Table:
    """The keys that a part gives away: `row`, the number in the pool from `first`, and `key`."""
    found = plan.read_part(snapshot_url, part, ["shard_key"])["shard_key"]
    table = pa.table({"row": np.arange(first, first + len(found)), "key": found})
    return table.filter(pc.is_valid(table["key"]))


def repeated(rows: pa.Table) -> pa.Table:
    """The keys that several of some rows of `keys` have: `row` of the first, `key`, `images`."""
    counted = rows.group_by("key").aggregate([("row", "min"), ("row", "count")])
    table = counted.select(["row_min", "key", "row_count"]).rename_columns(["row", "key", "images"])
    return table.filter(pc.greater(table["images"], 1))


def told(snapshot: Snapshot, found: pa.Table) -> list[str]:
    """A line for each `repeated` key."""
    url = address.join(snapshot.url, "plan")
    return [
        f"{url}: gives the key {one['key']} to {one['images']:,} images, the first of them row "
        f"{one['row']:,} of the pool"
        for one in found.to_pylist()
    ]
