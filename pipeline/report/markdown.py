"""The tables of a Markdown file that a job wrote: of a sweep, or a benchmark's table.

What is read is what our own jobs write: headings, tables of pipes, and lines that explain them.
"""

import re
from dataclasses import dataclass, field

from pipeline.report.cells import Table, made

PIPE = re.compile(r"(?<!\\)\|")


@dataclass
class _Part:
    """A heading and all until the next one."""

    title: str = ""
    lines: list[str] = field(default_factory=list)


def tables(text: str) -> list[Table]:
    """One for each heading with a table below it; all other lines until the next are its notes.

    Raises ValueError if there is none, or a row has more or fewer cells than there are columns.
    """
    parts: list[_Part] = []
    for part in _parts(text):
        if parts and not any(map(_is_row, part.lines)):
            parts[-1].lines += [part.title, *part.lines]
        else:
            parts.append(part)
    return [_table(part) for part in parts]


def _parts(text: str) -> list[_Part]:
    parts = [_Part()]
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("#"):
            parts.append(_Part(line.lstrip("# ")))
        else:
            parts[-1].lines.append(line)
    return parts if parts[0].lines else parts[1:]


def _is_row(line: str) -> bool:
    return line.startswith("|")


def _table(part: _Part) -> Table:
    columns, *below = [_cells(line) for line in part.lines if _is_row(line)] or [[]]
    if not below or any(len(row) != len(columns) for row in below):
        raise ValueError(f"no table below {part.title!r}, or its rows differ in length")
    rule, *rows = below
    right = [cell.endswith(":") for cell in rule]
    notes = [line.removeprefix("- ") for line in part.lines if not _is_row(line)]
    return made(part.title, columns, rows, notes, right if any(right) else None)


def _cells(line: str) -> list[str]:
    inner = PIPE.split(line)[1:-1]
    return [cell.strip().replace("\\|", "|") for cell in inner]
