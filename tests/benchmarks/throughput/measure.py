"""One run of one tool: how long it took, and what it wrote."""

import tarfile
from dataclasses import dataclass
from pathlib import Path

from .. import command


@dataclass(frozen=True)
class Result:
    """One run of one tool."""

    steady: float
    """Seconds of the job by the tool's own clock, after a warm-up (README, "What is timed")."""
    wall: float
    """Seconds of the whole command, start-up and warm-up included."""
    pillow: str
    written: int
    """Images in the tars that it wrote."""


def run(line: list[str], env: dict[str, str], out: Path, log: Path, limit: float) -> Result:
    """Runs it to the end. Raises command.Failed."""
    said = command.run(line, env, log, limit)
    return Result(said.told["seconds"], said.wall, said.told["pillow"], _images(out / "main"))


def _images(folder: Path) -> int:
    found = 0
    for path in folder.rglob("*.tar"):
        with tarfile.open(path) as tar:
            found += sum(name.endswith((".jpg", ".jpeg")) for name in tar.getnames())
    return found
