"""A page of docs/ as what its reader types, from top to bottom.

- A fenced `yaml` block that opens with `# name.yaml` is that file from there on.
- A fenced `python` block is a program.
- An indented line that begins with a program of `PROGRAMS` is a command. It ends with 0, or with
  what its comment says, as in `# ends with 1`. Other indented lines are what commands print.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PROGRAMS = ("headrace", "python", "cp", "rm", "mkdir", "printf", "truncate")

_FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
_LINE = re.compile(r"(?P<words>.*?)(?:\s{2,}# (?P<comment>.*))?")


@dataclass(frozen=True)
class File:
    """A config that the page shows."""

    name: str
    text: str


@dataclass(frozen=True)
class Program:
    """Python that the page shows."""

    text: str


@dataclass(frozen=True)
class Command:
    """A line for a shell, and the code it ends with."""

    line: str
    code: int = 0


Step = File | Program | Command


def steps(page: str) -> list[Step]:
    """What to do, in the page's order."""
    return list(_steps((DOCS / page).read_text()))


def commands(page: str) -> list[str]:
    """Every line of `headrace` on a page, those within a sentence too."""
    text = (DOCS / page).read_text()
    inline = re.findall(r"`(headrace [^`]+)`", text)
    return inline + [
        step.line
        for step in _steps(text)
        if isinstance(step, Command) and step.line.startswith("headrace ")
    ]


def _steps(text: str) -> Iterator[Step]:
    end = 0
    for block in _FENCED.finditer(text):
        yield from _commands(text[end : block.start()])
        yield from _shown(block["language"], block["text"])
        end = block.end()
    yield from _commands(text[end:])


def _shown(language: str, text: str) -> Iterator[Step]:
    name = re.match(r"# (\S+\.yaml)\b", text)
    if language == "python":
        yield Program(text)
    elif language == "yaml" and name:
        yield File(name[1], text)


def _commands(text: str) -> Iterator[Command]:
    for line in re.findall(r"^ {4}(\S.*)$", text, re.M):
        if line.split()[0] in PROGRAMS:
            found = _LINE.fullmatch(line)
            code = re.search(r"ends with (\d+)", found["comment"] or "")
            yield Command(found["words"], int(code[1]) if code else 0)
