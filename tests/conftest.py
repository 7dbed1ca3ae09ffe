"""What many tests stand on: the demo data, and the command as a person runs it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

DEMO_DATA = Path(__file__).parent.parent / "jobs" / "demo_data"

# Ray's own checks must not reach outside this machine while tests run.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@pytest.fixture(scope="session")
def demo_data() -> Path:
    """The folder with the shipped pool, trusted pairs and target."""
    return DEMO_DATA


class Headrace:
    """The `headrace` command in processes of its own."""

    command = (sys.executable, "-c", "from jobs.cli import main; main()")

    def start(self, *words: str, **options) -> subprocess.Popen:
        """Begins a command in a process group of its own, its output piped as text."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(
            [*self.command, *map(str, words)], start_new_session=True, **{**pipes, **options}
        )

    def __call__(self, *words: str, timeout: float = 240) -> subprocess.CompletedProcess:
        """Runs a command to its end."""
        process = self.start(*words)
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture(scope="session")
def headrace() -> Headrace:
    """Runs `headrace` as a person would."""
    return Headrace()


@pytest.fixture
def headrace_here(capfd, monkeypatch) -> Callable[..., subprocess.CompletedProcess]:
    """The command in this process: for what starts nothing that outlives it, and much sooner."""
    from jobs.cli import main  # not before a test asks for it

    def run(*words: str) -> subprocess.CompletedProcess:
        monkeypatch.setattr(sys, "argv", ["headrace", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return subprocess.CompletedProcess(words, ended.value.code or 0, *capfd.readouterr())

    return run
