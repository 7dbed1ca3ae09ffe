"""Whether other packages shadow our import names."""

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from jobs.looks.finding import (
    SET_UP,
    Finding,
)

HOME = Path(__file__).resolve().parents[2]


def look_at_names() -> Iterator[Finding]:
    """`pipeline`, `trainer` and `jobs` are common names: is each of them ours?"""
    for name in ("pipeline", "trainer", "jobs"):
        ours = (HOME / name).resolve()
        found = _location(name)
        if found != ours:
            yield Finding(
                "import names",
                "problem",
                f"`import {name}` finds {found or 'nothing'}, not {ours}",
                f"take {found.parent} off PYTHONPATH or leave that folder, or uninstall "
                "the package that put it there"
                if found
                else SET_UP,
            )
            continue
        hidden = [str(path) for path in _candidates(name) if path != ours]
        if hidden:
            yield Finding(
                "import names",
                "note",
                f"`import {name}` is ours, and hides {', '.join(hidden)}",
                "harmless here; with another PYTHONPATH or working folder it may win",
            )
        else:
            yield Finding("import names", "ok", f"{name} is {ours}")


def _location(name: str) -> Path | None:
    """What `import name` finds: the folder of a package, or the file of a module."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # put in sys.modules by hand, without a spec
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations is not None:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None


def _candidates(name: str) -> Iterator[Path]:
    for entry in sys.path:
        package = Path(entry or ".") / name
        module = package.with_name(f"{name}.py")
        if (package / "__init__.py").is_file():
            yield package.resolve()
        elif module.is_file():
            yield module.resolve()
