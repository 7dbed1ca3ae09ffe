"""Room in memory and on disk."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from jobs.looks.finding import (
    GIB,
    Finding,
    State,
    gib,
)

# Ray's object store lies in /dev/shm by default and spills to disk beyond it; a torch DataLoader
# with workers passes its batches through there.
SHM_WANTED = 2 * GIB
# The demo and its Ray session write about 2 GiB.
DISK_WANTED, DISK_NEEDED = 20 * GIB, 3 * GIB


def look_at_machine() -> Iterator[Finding]:
    """Room in memory and on disk."""
    shm = Path("/dev/shm")
    if shm.is_dir():
        yield shared_memory(shutil.disk_usage(shm).total)
    elif sys.platform == "linux":
        yield Finding("machine", "note", "no /dev/shm", "mount a tmpfs there")
    yield disk(shutil.disk_usage(Path.cwd()).free, Path.cwd())


def shared_memory(size: int) -> Finding:
    """Of /dev/shm: a container's default of 64 MiB makes Ray spill and DataLoaders die."""
    if size >= SHM_WANTED:
        return Finding("machine", "ok", f"/dev/shm {gib(size)}")
    return Finding(
        "machine",
        "note",
        f"/dev/shm has only {gib(size)}: Ray's objects go to disk, DataLoader workers may die",
        "docker run --shm-size=8g; in Kubernetes an emptyDir with medium: Memory",
    )


def disk(free: int, where: Path) -> Finding:
    """Of the working folder, where outputs go by default."""
    what = f"{gib(free)} free in {where}"
    if free >= DISK_WANTED:
        return Finding("machine", "ok", what)
    state: State = "note" if free >= DISK_NEEDED else "problem"
    return Finding("machine", state, what, f"free some, or work where {gib(DISK_WANTED)} are free")
