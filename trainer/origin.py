"""What a run began with: the code and the sources, in `<run>/origin.json`."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from trainer.stream.stream import Stream

ROOT = Path(__file__).parents[1]


def of(stream: Stream) -> dict[str, Any]:
    """For JSON. The commit is None where headrace is not run from its repository."""
    return {
        "headrace": _version("headrace"),
        "commit": _commit(),
        "torch": torch.__version__,
        "numpy": _version("numpy"),
        "sources": stream.origins,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """With a + behind it if a file was changed since."""
    if not (ROOT / ".git").exists():  # installed, perhaps below somebody else's repository
        return None
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run([*command, "--dirty=+"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
