"""Adding to the files of a run: what was added is on the disk, or one line says why it is not."""

import os
from io import FileIO
from pathlib import Path

from pipeline.format.errors import HeadraceError


def to_append(path: Path) -> FileIO:
    """Opens a file to add to, without a buffer: a full disk would refuse that again at the end."""
    return FileIO(path, "a")


def append(file: FileIO, data: bytes) -> None:
    """Adds bytes, readable by others at once, which outlive a loss of power.

    A checkpoint does too, so what a run wrote down before it must not be lost behind it. Raises
    HeadraceError if the disk is full.
    """
    left = memoryview(data)
    try:
        while left:
            left = left[file.write(left) :]
        if data:
            os.fsync(file.fileno())
    except OSError as error:
        raise HeadraceError(
            f"{file.name}: not written: {error.strerror}; make room and run the same command again"
        ) from error
