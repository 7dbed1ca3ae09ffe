"""Running one command to its end, and what it said on its last line."""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 20
"""Seconds that a tool's daemons have to end after the command did."""


@dataclass(frozen=True)
class Said:
    """What a command told, and how long all of it took."""

    told: dict[str, Any]
    """The JSON on the last line of its output."""
    begun: float
    """When it was started, by `time.time`."""
    wall: float
    """Seconds of the whole command, start-up and warm-up included."""


class Failed(Exception):
    """A run that ended without a result; says how."""


def adopt_orphans() -> None:
    """Daemons that a tool leaves behind become our children: their end can be waited for."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(command: list[str], env: dict[str, str], log: Path, limit: float) -> Said:
    """Runs it, with its errors in `log`. Raises Failed, after `limit` seconds too."""
    (said,) = run_together([(command, env, log)], limit)
    return said


def run_together(
    commands: list[tuple[list[str], dict[str, str], Path]], limit: float
) -> list[Said]:
    """The same for commands that talk to each other: command, environment and log of each."""
    begun = time.time()
    with contextlib.ExitStack() as files:
        started = [
            (
                subprocess.Popen(
                    command,
                    env=env,
                    stdout=files.enter_context(_output(log).open("w")),
                    stderr=files.enter_context(log.open("w")),
                    start_new_session=True,
                ),
                log,
            )
            for command, env, log in commands
        ]
        try:
            return [_said(process, log, begun, limit) for process, log in started]
        finally:
            for process, _ in started:
                with contextlib.suppress(ProcessLookupError):  # it, and workers that it left
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            _reap()


def _said(process: subprocess.Popen, log: Path, begun: float, limit: float) -> Said:
    try:
        code = process.wait(max(1, begun + limit - time.time()))
    except subprocess.TimeoutExpired:
        raise Failed(f"stopped after {limit:.0f} s; see {log}") from None
    wall = time.time() - begun
    if code:
        raise Failed(f"exit code {code}; see {log}")
    return Said(json.loads(_output(log).read_text().strip().splitlines()[-1]), begun, wall)


def _output(log: Path) -> Path:
    return log.with_suffix(".out")


def _reap() -> None:
    """Waits for what the command left running, or the next tool would be measured beside it."""
    patience = time.monotonic() + PATIENCE
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < patience:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.05)
