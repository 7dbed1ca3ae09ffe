"""What a person sees while a job runs: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False)
"""Progress and messages; results go to standard output."""


class Advance(Protocol):
    """Told how much was just done, and what else to show beside it."""

    def __call__(self, done: int, note: str = "") -> None:
        """Moves the bar."""


@contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Advance]:
    """Shows how far a job is while the block calls what it is given."""
    if not console.is_terminal:
        yield _lines(what, total, unit)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    more = (TextColumn(f"{unit}  {{task.fields[note]}}"), TimeRemainingColumn())
    with Progress(*columns, *more, console=console) as bar:
        task = bar.add_task(what, total=total, note="")
        yield lambda done, note="": bar.update(task, advance=done, note=note)


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
