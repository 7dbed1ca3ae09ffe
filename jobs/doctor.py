"""headrace doctor: is this machine ready, what will be slow, and what to do about it.

`inspect()` looks, `render()` shows, `run()` is the command. Whatever is missing or broken is a
finding: each look has its own guard, and no library is imported before its own look.
"""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from jobs.looks.engines import look_at_ray, look_at_torch
from jobs.looks.finding import SET_UP, Finding, first_line
from jobs.looks.images import look_at_images
from jobs.looks.machine import look_at_machine
from jobs.looks.names import look_at_names
from jobs.looks.storage import look_at_storage

if TYPE_CHECKING:
    from rich.console import Console

LOOKS: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
    ("import names", look_at_names),
    ("images", look_at_images),
    ("torch", look_at_torch),
    ("ray", look_at_ray),
    ("storage", look_at_storage),
    ("machine", look_at_machine),
)


def inspect() -> list[Finding]:
    """Look at everything; never raises for something that is missing or broken."""
    return [finding for topic, look in LOOKS for finding in _guarded(topic, look)]


def render(findings: list[Finding], console: "Console") -> None:
    """A table of the findings, the gaps' remedies under them."""
    from rich.table import Table
    from rich.text import Text

    style = {"ok": "green", "note": "yellow", "problem": "bold red"}
    table = Table(title="headrace doctor", title_justify="left", show_lines=False)
    for heading in ("", "topic", "what"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        what = Text(finding.what)
        if finding.fix:
            what.append(f"\n→ {finding.fix}", style="cyan")
        table.add_row(Text(finding.state, style=style[finding.state]), finding.topic, what)
    console.print(table)
    problems = sum(finding.state == "problem" for finding in findings)
    notes = sum(finding.state == "note" for finding in findings)
    console.print(f"{problems} problem(s), {notes} note(s)")


def run() -> int:
    """Inspect and show; the exit code is 1 if something must be mended first."""
    findings = inspect()
    try:
        from rich.console import Console
    except ImportError:
        for finding in findings:
            print(f"{finding.state:8} {finding.topic}: {finding.what}  {finding.fix}".rstrip())
    else:
        render(findings, Console())
    return int(any(finding.state == "problem" for finding in findings))


def _guarded(topic: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except Exception as error:
        yield Finding(topic, "problem", f"the look failed: {first_line(error)}", SET_UP)


if __name__ == "__main__":
    sys.exit(run())
