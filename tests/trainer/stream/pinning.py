"""A store on a disk that writes down what it is asked, and a process that pins a snapshot from it.

python -m tests.trainer.stream.pinning <snapshot> <folder> <max bytes>
"""

import os
import sys
import time
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.format.shards import ShardSet, of_snapshot
from pipeline.format.snapshot import read_snapshot
from trainer.stream import pinned

PIECE = 10_000
"""Bytes that are asked for at once: some pieces a shard."""


class CountingStore(LocalFileSystem):
    """Local files as `counting://<path>`; each read of a tar is a line in $COUNTING_LOG."""

    protocol = "counting"
    cachable = False

    @classmethod
    def _strip_protocol(cls, path):
        return path.removeprefix("counting://")

    def cat_file(self, path, start=None, end=None, **options):
        """Takes $COUNTING_DELAY seconds."""
        if path.endswith(".tar"):
            with Path(os.environ["COUNTING_LOG"]).open("a") as log:
                log.write(f"{path} {start}\n")
            time.sleep(float(os.environ.get("COUNTING_DELAY", "0")))
        return Path(path).read_bytes()[start:end]


def counted(snapshot: str) -> ShardSet:
    """The shards of a snapshot on this disk, read from the counting store."""
    fsspec.register_implementation("counting", CountingStore, clobber=True)
    pinned.PIECE = PIECE
    return of_snapshot(read_snapshot(snapshot.replace("file://", "counting://", 1)))


def wait_for(pins: pinned.Pinned) -> None:
    """Until it has seen to all that is wanted."""
    with pins.fetching() as threads:
        for thread in threads:
            thread.join()


def main(snapshot: str, folder: str, max_bytes: str) -> None:
    """Pins all shards, and prints how many of them can be read then."""
    shards, pins = counted(snapshot), pinned.Pinned(folder, int(max_bytes))
    pins.want(shards)
    wait_for(pins)
    print(sum(pins.read(shards, n, 0, 512) is not None for n in range(len(shards.paths))))


if __name__ == "__main__":
    main(*sys.argv[1:])
