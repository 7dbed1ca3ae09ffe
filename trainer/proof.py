"""The proof of what a run was fed, step by step: `<run>/delivered.txt`.

    "%010d %032x\n"    a step of the stream, and the sum of its samples' hashes over all ranks

Lines are of one width and line k is of step k, so two runs are compared by their bytes: two that
were fed the same have the same file, on any number of ranks and after any kill.
"""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.format import address, store
from pipeline.format.errors import HeadraceError
from trainer.append import append, to_append

NAME = "delivered.txt"
WIDTH = 10 + 1 + 32 + 1

Lines = npt.NDArray[np.uint8]


class Proof:
    """Appends to a run's proof."""

    def __init__(self, path: Path, steps: int) -> None:
        """Opens the proof of a run that begins after `steps` steps, and forgets later ones.

        Raises HeadraceError if it does not reach as far.
        """
        self.steps = steps
        if (path.stat().st_size if path.exists() else 0) < steps * WIDTH:
            raise HeadraceError(
                f"{path}: ends before step {steps}, at which the checkpoint begins; restore it, or "
                "fork the checkpoint into a new folder"
            )
        path.touch()
        os.truncate(path, steps * WIDTH)
        self.file = to_append(path)

    def write(self, digests: list[int]) -> None:
        """Adds the next steps. Raises HeadraceError if the disk is full."""
        lines = [b"%010d %032x\n" % line for line in enumerate(digests, start=self.steps)]
        append(self.file, b"".join(lines))
        self.steps += len(digests)

    def close(self) -> None:
        """Closes the file."""
        self.file.close()


def read(run: str) -> Lines:
    """The whole lines of the proof in a run's folder: uint8 (steps, WIDTH).

    A line cut by a kill is left out. Raises HeadraceError if there is none, or another file.
    """
    url = address.join(address.absolute(run), NAME)
    data = np.frombuffer(store.read_bytes(url), np.uint8)
    lines = data[: len(data) // WIDTH * WIDTH].reshape(-1, WIDTH)
    if np.any(lines[:, -1] != ord("\n")):
        raise HeadraceError(f"{url}: not a proof that headrace wrote")
    return lines


def first_difference(left: Lines, right: Lines) -> int | None:
    """The first step that differs among those that both have."""
    both = min(len(left), len(right))
    differs = np.any(left[:both] != right[:both], axis=1)
    return int(differs.argmax()) if differs.any() else None


def digest_of(lines: Lines, step: int) -> str:
    """A step's digest as it stands there."""
    return lines[step].tobytes()[11:-1].decode()
