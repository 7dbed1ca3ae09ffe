"""The processes of a job, found by the session they were started in."""

import contextlib
import os
import signal
from pathlib import Path


def of_session(session: int) -> dict[int, str]:
    """Process id → command, of every living process of a session."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    found[int(folder.name)] = (folder / "cmdline").read_text()
    return found


def kill(pid: int) -> bool:
    """SIGKILL. Whether there was somebody to get it."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kill_session(session: int) -> None:
    """SIGKILL for every process of a session, as when a machine loses power."""
    while found := of_session(session):
        for pid in found:
            kill(pid)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(session, 0)
