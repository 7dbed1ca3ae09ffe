"""Images that kill whoever opens them, and the folder that makes them do it."""

import os
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "dying"
"""For PYTHONPATH of a process; its children inherit it."""


def image(how: str, number: int = 0) -> bytes:
    """`how` is the name of a signal, EXIT, HANG (sleeps), SPIN (computes) or GROW (allocates)."""
    return f"DIES:{how}\n{number}".encode()


def environment() -> dict[str, str]:
    """This process's environment, in which those images kill."""
    path = [str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}
