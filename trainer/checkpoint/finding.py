"""Which checkpoints there are. The marker alone says that one is complete."""

import json
import re
from typing import Any

from pipeline.format import store
from pipeline.format.address import join

MARKER = "COMPLETE"

_STEP = re.compile(r"\d{8,}")


def at(where: str, step: int) -> str:
    """The folder of a step's checkpoint."""
    return join(where, f"{step:08d}")


def steps(where: str) -> list[int]:
    """The steps that have a folder, complete or not, the lowest first."""
    return sorted(int(name) for name in store.names(where) if _STEP.fullmatch(name))


def is_complete(url: str) -> bool:
    """Whether a checkpoint can be loaded."""
    return store.exists(join(url, MARKER))


def newest(where: str) -> str | None:
    """The complete checkpoint of the highest step, if there is one.

    `where` is a folder or any fsspec URL. Raises HeadraceError if it cannot be listed.
    """
    folders = (at(where, step) for step in reversed(steps(where)))
    return next(filter(is_complete, folders), None)


def read_state(url: str) -> dict[str, Any]:
    """What a complete checkpoint holds beside model and optimiser, and its step."""
    state: dict[str, Any] = json.loads(store.read_bytes(join(url, MARKER)))
    return state
