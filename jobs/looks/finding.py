"""What a look of `headrace doctor` finds, and what the looks share."""

import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

State = Literal["ok", "note", "problem"]

GIB = 1 << 30
SET_UP = "make setup"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `what` is so, and `fix` says what to do if that is a gap."""

    topic: str
    state: State
    what: str
    fix: str = ""


def import_or_finding(name: str) -> ModuleType | Finding:
    """The module, or a finding that says why it cannot be had.

    A broken native library may raise anything at import, not only ImportError.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:
        return Finding(name, "problem", f"does not import: {first_line(error)}", SET_UP)


def first_line(error: Exception) -> str:
    """The error's type and first line."""
    first = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first[0]}"


def version_of(distribution: str) -> str:
    """The installed version of a distribution, or nothing."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def gib(size: float) -> str:
    """Bytes as GiB."""
    return f"{size / GIB:.1f} GiB"
