"""The most memory that a process and its descendants held at one time, while a block ran."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EVERY = 0.25
"""Seconds between looks."""


class Peak:
    """Bytes of memory, each shared page counted once in all (proportional set size)."""

    nbytes = 0


@contextmanager
def peak() -> Iterator[Peak]:
    """Looks at /proc until the block ends."""
    found, over = Peak(), threading.Event()

    def watch() -> None:
        while not over.wait(EVERY):
            found.nbytes = max(found.nbytes, sum(map(_held, _descendants(os.getpid()))))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def _descendants(root: int) -> set[int]:
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):  # it ended meanwhile
            continue
    family = {root}
    while grown := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= grown
    return family


def _held(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    lines = (line.split() for line in text.splitlines())
    return sum(int(words[1]) * 1024 for words in lines if words[0] == "Pss:")
