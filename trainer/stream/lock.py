"""A file that one process holds, and loses by dying: nobody waits for the dead."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def held(path: str) -> Iterator[IO[bytes] | None]:
    """An empty file that is this block's own, or None while it is somebody else's.

    It is gone after the block, unless it has got another name by then.
    """
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        if not _is_at(file, path):  # its owner has just renamed or removed it
            yield None
            return
        try:
            file.truncate()
            yield file
        finally:
            if _is_at(file, path):
                os.unlink(path)


def _is_at(file: IO[bytes], path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    return False
