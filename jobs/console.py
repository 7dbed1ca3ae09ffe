"""What a person sees while a job runs: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False)
"""Progress and messages; results go to standard output."""


@contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Shows how far a job is; the block calls what it is given with the number just done."""
    if not console.is_terminal:
        with _lines(what, total, unit) as advance:
            yield advance
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn(unit), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


@contextmanager
def _lines(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    done, shown = 0, 0

    def advance(more: int) -> None:
        nonlocal done, shown
        done += more
        if (tenth := done * 10 // max(total, 1)) > shown:
            shown = tenth
            console.print(f"{what}: {done}/{total} {unit}")

    yield advance
