"""The files of docker/ as data."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import yaml

from jobs.cli import app

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
MANIFESTS = sorted((DOCKER / "kubernetes").glob("*.yaml"))
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = PROJECT["project"]["version"]


def compose() -> dict[str, Any]:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def manifests(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def pinned(package: str) -> str:
    """The version that constraints.txt gives to a package."""
    text = (ROOT / "constraints.txt").read_text()
    return re.findall(rf"^{re.escape(package)}==(\S+)$", text, re.M)[0]


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """The words of a Dockerfile, (instruction, rest), comments and line ends taken out."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.split("\n"))]


def named(tree: Any, name: str) -> Iterator[Any]:
    """Every value that has this name, at any depth."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == name:
                yield value
            yield from named(value, name)
    elif isinstance(tree, list):
        for value in tree:
            yield from named(value, name)


def understood(words: list[str]) -> None:
    """Raises if `headrace` has no such command or option, also of a command that it submits."""
    program, name, *rest = words
    assert program == "headrace"
    commands = typer.main.get_command(app)
    command = commands.commands[name]  # type: ignore[attr-defined]
    arguments = command.make_context(name, rest).params
    if "words" in arguments:
        understood([program, *arguments["words"]])
