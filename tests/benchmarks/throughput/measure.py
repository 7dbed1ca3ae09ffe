"""Running one command: how long it took, and what it wrote."""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 20
"""Seconds that a tool's daemons have to end after the command did."""


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


class Failed(Exception):
    """A run that ended without a result; says how."""


def adopt_orphans() -> None:
    """Daemons that a tool leaves behind become our children: their end can be waited for."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(command: list[str], env: dict[str, str], out: Path, log: Path, limit: float) -> Result:
    """Runs it to the end. Raises Failed."""
    begin = time.monotonic()
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            env=env,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise Failed(f"stopped after {limit:.0f} s; see {log}") from None
        finally:
            wall = time.monotonic() - begin
            _reap()
    if process.returncode:
        raise Failed(f"exit code {process.returncode}; see {log}")
    told = json.loads(said.strip().splitlines()[-1])
    return Result(told["seconds"], wall, told["pillow"], _images(out / "main"))


def _reap() -> None:
    """Waits for what the command left running, or the next tool would be measured beside it."""
    patience = time.monotonic() + PATIENCE
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < patience:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.05)


def _images(folder: Path) -> int:
    found = 0
    for path in folder.rglob("*.tar"):
        with tarfile.open(path) as tar:
            found += sum(name.endswith((".jpg", ".jpeg")) for name in tar.getnames())
    return found
