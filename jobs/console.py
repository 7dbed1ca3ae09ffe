"""What a person sees while a job runs: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jobs import metrics

console = Console(stderr=True, highlight=False)
"""Progress and messages; results go to standard output."""


class Advance(Protocol):
    """Told how much was just done, and what else to show beside it."""

    def __call__(self, done: int, note: str = "") -> None:
        """Moves the bar."""


@contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Advance]:
    """Shows how far a job is while the block calls what it is given.

    Prometheus sees it by the label `what`, which is therefore one of a few.
    """
    left = total
    with _shown(what, total, unit) as show:

        def advance(done: int, note: str = "") -> None:
            nonlocal left
            left -= done
            metrics.gauge("headrace_work_left", left, what)
            show(done, note)

        metrics.gauge("headrace_work_left", total, what)
        yield advance


@contextmanager
def _shown(what: str, total: int, unit: str) -> Iterator[Advance]:
    if not console.is_terminal:
        yield _lines(what, total, unit)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    more = (TextColumn(f"{unit}  {{task.fields[note]}}"), TimeRemainingColumn())
    with Progress(*columns, *more, console=console) as bar:
        task = bar.add_task(what, total=total, note="")
        yield lambda done, note="": bar.update(task, advance=done, note=note)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Says what a block does, and when it has ended how many seconds that took."""
    console.print(f"[bold]{what}[/bold]")
    begin = time.monotonic()
    yield
    console.print(f"  {time.monotonic() - begin:.0f} s")


class Told(Protocol):
    """Told how much is done in all, and a line that says more of it."""

    def __call__(self, finished: int, line: str) -> None:
        """Shows the line, and moves the bar."""


@contextmanager
def logged(what: str, total: int, unit: str) -> Iterator[Told]:
    """Shows a log as it grows: all of its lines, on a terminal with a bar below them."""
    if not console.is_terminal:
        yield lambda finished, line: _print(line)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn(unit), console=console) as bar:
        task = bar.add_task(what, total=total)

        def told(finished: int, line: str) -> None:
            _print(line)
            bar.update(task, completed=finished)

        yield told


def _print(line: str) -> None:
    """As it is: a name in brackets is no markup, and only a terminal breaks a long line."""
    console.print(line, markup=False, soft_wrap=True)


def _lines(what: str, total: int, unit: str) -> Advance:
    """A line at every tenth, and at the end."""
    finished, shown = 0, 0

    def advance(done: int, note: str = "") -> None:
        nonlocal finished, shown
        finished += done
        if (tenth := finished * 10 // max(total, 1)) > shown:
            shown = tenth
            console.print(f"{what}: {finished}/{total} {unit}  {note}".rstrip())

    return advance
