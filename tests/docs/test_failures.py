"""What the operator's page says that one sees is said by the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.page import DOCS

ROOT = Path(__file__).parents[2]
HOLE = "…"
TABLE = (DOCS / "operating.md").read_text().partition("## What you see")[2]
SEEN = re.findall(r"^\| `(.+?)` \|", TABLE, re.M)


def texts() -> Iterator[str]:
    """Every text in the code, with a hole for what is filled in."""
    for folder in ("jobs", "pipeline"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(
                        getattr(part, "value", HOLE) if isinstance(part, ast.Constant) else HOLE
                        for part in node.values
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


@pytest.fixture(scope="module")
def said() -> str:
    """All of them."""
    return "\n".join(texts())


def test_the_table_has_what_goes_wrong():
    assert len(SEEN) >= 15


@pytest.mark.parametrize("words", SEEN)
def test_what_is_seen_is_in_the_code(words, said):
    assert words.removeprefix(HOLE).removesuffix(HOLE).strip() in said
