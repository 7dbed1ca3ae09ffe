"""The snapshots of a dataset, and who descends from whom."""

from pipeline.format import address, store
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, latest, read_snapshot


def ids(dataset: str) -> list[str]:
    """The ids of all published snapshots, in their own order: those with a manifest."""
    folder = address.join(address.absolute(dataset), "snapshots")
    return sorted(
        name
        for name in store.names(folder)
        if store.exists(address.join(folder, name, "manifest.json"))
    )


def published(dataset: str) -> list[Snapshot]:
    """Every published snapshot: the chain of LATEST, newest first, then the others by id.

    Empty if nothing was published. Raises HeadraceError if a manifest cannot be read, or one that
    LATEST or a child names is missing.
    """
    dataset = address.absolute(dataset)
    newest = latest(dataset)
    found = chain(read(dataset, newest)) if newest else []
    known = {snapshot.id for snapshot in found}
    return found + [read(dataset, name) for name in ids(dataset) if name not in known]


def chain(snapshot: Snapshot) -> list[Snapshot]:
    """A snapshot and its ancestors, newest first. Raises HeadraceError if one is missing."""
    found = [snapshot]
    while (parent := found[-1].parent) is not None:
        if any(one.id == parent for one in found):  # ids are digests: a manifest was edited
            raise HeadraceError(f"{found[-1].url}: names a descendant as its parent; restore it")
        found.append(read(snapshot.dataset, parent))
    return found


def read(dataset: str, name: str) -> Snapshot:
    """The snapshot of this id. Raises HeadraceError if there is none."""
    return read_snapshot(address.join(dataset, "snapshots", name))
