"""Retired snapshots: some of their shards may be gone, so nothing new may be made of them.

    <dataset>/snapshots/<id>/retired.json    the successor's id; the manifest and the plan stay

What tells of a snapshot (`why`, `diff`, the chain) still reads it; what reads its shards asks
`check` first.
"""

import json

from pipeline.format import address, store, writing
from pipeline.format.errors import HeadraceError

NAME = "retired.json"


class Retired(HeadraceError):
    """A snapshot may not be read any more; `snapshot` and `successor` are URLs."""

    def __init__(self, snapshot: str, successor: str) -> None:
        super().__init__(
            f"{snapshot}: was retired, and its shards may be gone; {successor} is its successor: "
            "mix that, and `headrace train CONFIG --fork RUN` goes on from a run's weights"
        )
        self.snapshot, self.successor = snapshot, successor


def retire(snapshot: str, successor: str) -> None:
    """Retires the snapshot at a URL; `successor` is the id of the one to go on with.

    One that is retired already keeps its successor.
    """
    data = json.dumps({"successor": successor}).encode() + b"\n"
    try:
        writing.publish(address.join(snapshot, NAME), data, create_only=True)
    except FileExistsError:
        return


def is_retired(snapshot: str, timeout: float | None = None) -> bool:
    """Whether the snapshot at a URL was retired; a store that takes over `timeout` seconds is
    Unavailable."""
    return store.exists(address.join(snapshot, NAME), timeout)


def check(snapshot: str) -> None:
    """Raises Retired if the snapshot at a URL was retired, with a successor that was not."""
    successor, seen = snapshot, set[str]()
    while successor not in seen and is_retired(successor):  # an edited file may lead in a circle
        seen.add(successor)
        successor = successor_of(successor)
    if seen:
        raise Retired(snapshot, successor)


def successor_of(snapshot: str) -> str:
    """URL of the one to go on with from a retired snapshot, by its URL.

    Raises HeadraceError if its file is damaged.
    """
    url = address.join(snapshot, NAME)
    try:
        name = json.loads(store.read_bytes(url))["successor"]
        return address.join(snapshot.rpartition("/")[0], name)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HeadraceError(f"{url}: does not say what succeeds it: {error}; restore it") from error
