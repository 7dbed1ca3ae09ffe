"""Pins: which runs read which snapshots, so that nobody deletes shards under a run.

    <dataset>/runs/pins/<snapshot id>-<hash of the run>.json    both of them, by their names

A pin is one small file that its snapshot and run name: pinning twice is harmless.
"""

import hashlib
import json
from dataclasses import dataclass

from pipeline.format import address, store, writing
from pipeline.format.errors import HeadraceError


@dataclass(frozen=True)
class Pin:
    """A run needs a snapshot."""

    snapshot: str
    """Its id."""
    run: str
    """URL of the run's folder."""


def pin(snapshot: str, run: str) -> None:
    """The run at a URL needs the snapshot at a URL. Raises HeadraceError if the store refuses."""
    name = snapshot.rpartition("/")[2]
    data = json.dumps({"snapshot": name, "run": address.absolute(run)}).encode() + b"\n"
    writing.publish(_url(_dataset(snapshot), name, run), data)


def unpin(snapshot: str, run: str) -> None:
    """Takes that back. Raises HeadraceError if the store refuses."""
    writing.remove(_url(_dataset(snapshot), snapshot.rpartition("/")[2], run))


def pins(dataset: str) -> list[Pin]:
    """All pins of a dataset, in the order of their snapshots' ids."""
    folder = _folder(dataset)
    names = sorted(name for name in store.names(folder) if name.endswith(".json"))
    found = [_read(address.join(folder, name)) for name in names]
    return [one for one in found if one]


def release(dataset: str, run: str) -> list[Pin]:
    """Removes the pins of a run, which is dead or over, and returns them."""
    mine = [one for one in pins(dataset) if one.run == address.absolute(run)]
    for one in mine:
        writing.remove(_url(dataset, one.snapshot, run))
    return mine


def _read(url: str) -> Pin | None:
    """None if it was taken back meanwhile."""
    try:
        return Pin(**json.loads(store.read_bytes(url)))
    except HeadraceError:
        if store.exists(url):
            raise
        return None
    except (ValueError, TypeError) as error:
        raise HeadraceError(f"{url}: not a pin of headrace: {error}; delete it") from error


def _dataset(snapshot: str) -> str:
    return address.absolute(snapshot).rpartition("/snapshots/")[0]


def _folder(dataset: str) -> str:
    return address.join(address.absolute(dataset), "runs", "pins")


def _url(dataset: str, snapshot: str, run: str) -> str:
    mark = hashlib.sha256(address.absolute(run).encode()).hexdigest()[:16]
    return address.join(_folder(dataset), f"{snapshot}-{mark}.json")
