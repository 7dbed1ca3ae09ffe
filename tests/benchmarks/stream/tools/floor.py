"""The floor: the same crops of bytes in memory into batches, and nothing else.

The variant is `processes` or `threads`, two of either.
"""

import argparse
import multiprocessing
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import same_work
from PIL import Image


def crops(data: list[bytes], batch: int, barrier: Callable[[], object]) -> float:
    """Seconds for crops of these bytes, after a warm-up and once the others are as far."""
    slab = np.empty((batch, same_work.SIZE, same_work.SIZE, 3), np.uint8)
    for number, one in enumerate(data[:64]):
        slab[number % batch] = same_work.crop(one)
    barrier()
    begin = time.monotonic()
    for number, one in enumerate(data):
        slab[number % batch] = same_work.crop(one)
    return time.monotonic() - begin


def keep_memory() -> None:
    """What decoding frees is kept for the next image: bare decoding at its best, in processes and
    in threads. headrace does so itself; see pipeline/format/images.py."""
    Image.core.set_blocks_max(4)
    bytes(30_000_000)


def share(paths: list[Path], batch: int, barrier: Callable[[], object], told: Any) -> None:
    told.put(crops([path.read_bytes() for path in paths], batch, barrier))


def main(given: argparse.Namespace) -> None:
    paths = sorted((given.pool / "images").iterdir())
    parts = [paths[n :: same_work.WORKERS] for n in range(same_work.WORKERS)]
    if given.variant == "threads":
        barrier, told, kind = (
            threading.Barrier(same_work.WORKERS),
            queue.SimpleQueue(),
            threading.Thread,
        )
    else:
        context = multiprocessing.get_context("fork")
        barrier, told, kind = (
            context.Barrier(same_work.WORKERS),
            context.SimpleQueue(),
            context.Process,
        )
    keep_memory()
    for part in parts:
        kind(target=share, args=(part, given.batch, barrier.wait, told)).start()
    same_work.say(images=len(paths), seconds=max([told.get() for _ in parts]))


if __name__ == "__main__":
    main(same_work.arguments())
