"""A log and a job's progress as a person sees them, on a terminal and without one."""

import contextlib
import io
import os
import pty
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console

from jobs import console

LINES = ["step 5/10  loss 0.9  [web] 100.0%", "step 10/10  loss 0.8  " + "x" * 150]


def show(monkeypatch, terminal: bool) -> str:
    out = io.StringIO()
    shown = Console(file=out, force_terminal=terminal, width=80, highlight=False)
    monkeypatch.setattr(console, "console", shown)
    with console.logged("train runs/first", 10, "steps") as told:
        for step, line in zip((5, 10), LINES, strict=True):
            told(step, line)
    return out.getvalue()


def test_without_a_terminal_it_is_the_lines_as_they_are(monkeypatch):
    assert show(monkeypatch, terminal=False).splitlines() == LINES


@pytest.mark.parametrize("line", LINES)
def test_on_a_terminal_every_line_stands_above_a_bar(monkeypatch, line):
    seen = show(monkeypatch, terminal=True)
    assert line in seen
    last = seen.rpartition(LINES[1])[2]
    assert "train runs/first" in last
    assert "10/10" in last


def advance(monkeypatch, file) -> None:
    monkeypatch.setattr(console, "console", Console(file=file, width=80, highlight=False))
    with console.progress("write shards", 30, "shards") as advance:
        for _ in range(30):
            advance(1, "2 failed")


def test_progress_without_a_terminal_is_ten_plain_lines(monkeypatch):
    out = io.StringIO()
    advance(monkeypatch, out)
    wanted = [f"write shards: {done}/30 shards  2 failed" for done in range(3, 31, 3)]
    assert out.getvalue().splitlines() == wanted


def until_it_closes(master: int) -> str:
    """All that a terminal is told."""
    told = b""
    with contextlib.suppress(OSError):  # as Linux has it when nobody holds the other end
        while data := os.read(master, 4096):
            told += data
    os.close(master)
    return told.decode()


def test_progress_on_a_terminal_is_a_bar(monkeypatch):
    master, slave = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with ThreadPoolExecutor() as reader:
        screen = reader.submit(until_it_closes, master)
        with os.fdopen(slave, "w") as terminal:
            advance(monkeypatch, terminal)
        seen = screen.result()
    last = seen.rpartition("write shards")[2]
    assert "━" in last
    assert "30/30" in last
    assert "shards  2 failed" in last
    assert "write shards: " not in seen
