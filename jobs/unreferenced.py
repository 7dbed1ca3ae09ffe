"""The files of a dataset that none of its snapshots needs, and which of them may be in the making.

A refresh under way has files that no manifest names yet, and so has one that was killed. One that
is at work writes some file every few minutes: an unpublished snapshot is left behind once its
newest file is old.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.format import address, store
from pipeline.format.snapshot import Snapshot

INDEX = ".idx.parquet"
"""How the name of a shard's index ends."""

_ID = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True)
class File:
    """A file of the dataset; `path` is relative to it, `changed` in seconds since 1970."""

    path: str
    nbytes: int
    changed: float

    @property
    def id(self) -> str:
        """Of the snapshot whose folder it lies in."""
        return self.path.split("/")[1]


def unreferenced(
    dataset: str, found: Sequence[Snapshot], kept: Collection[str], left_behind: float
) -> tuple[list[File], list[File]]:
    """Files to delete, and those that are spared.

    `found` are all published snapshots, `kept` the ids of those that stay. What belongs to others
    may go, and so may what belongs to no snapshot whose newest file was changed before
    `left_behind`, in seconds since 1970; else it is spared.
    """
    wanted = {
        path
        for one in found
        if one.id in kept
        for shard in one.shards
        for path in (shard.path, shard.index_path)
    }
    retiring = {one.id for one in found} - set(kept)
    doomed, spared = list[File](), list[File]()
    for name, files in _by_id(dataset, {one.id for one in found}).items():
        old = name in retiring or max(file.changed for file in files) < left_behind
        (doomed if old else spared).extend(file for file in files if file.path not in wanted)
    return doomed, spared


def _by_id(dataset: str, published: Collection[str]) -> dict[str, list[File]]:
    """All shards and indexes, and what was decided and never published, by the snapshot's id."""
    ids = store.names(address.join(dataset, "snapshots")) - set(published)
    folders = ["shards", *(f"snapshots/{name}" for name in sorted(ids))]
    found = defaultdict(list)
    for file in (file for folder in folders for file in _files(dataset, folder)):
        if file.path.count("/") >= 2 and _ID.fullmatch(file.id):  # else it is none of ours
            found[file.id].append(file)
    return found


def _files(dataset: str, folder: str) -> Iterable[File]:
    fs, root = store.filesystem(dataset)
    with store.reading(address.join(dataset, folder)):
        found = fs.find(f"{root}/{folder}", detail=True)
    for name, info in sorted(found.items()):
        yield File(name.removeprefix(root).lstrip("/"), int(info["size"]), _changed(info))


def _changed(info: dict[str, Any]) -> float:
    """What its store says; a file without a time counts as new, so it is spared."""
    told = info.get("mtime") or info.get("LastModified") or info.get("created")
    return told.timestamp() if isinstance(told, datetime) else float(told or "inf")
