"""A log as a person sees it, on a terminal and without one."""

import io

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
