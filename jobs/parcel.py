"""What travels with a submitted job: headrace's own code, the config, and the files that it names.

Nothing else of the working directory does: no pool, no `.env`. On the cluster the job begins in a
folder where these files have the same relative paths.
"""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jobs
from pipeline.format.errors import HeadraceError

PACKAGES = ("jobs", "pipeline", "trainer")
STAYS = {"demo_data", "__pycache__"}
"""Folders of ours that no job on a cluster reads."""

LIMIT = 500 * 1024 * 1024
"""Bytes that may travel; Ray's head refuses a package of 512 MiB (ray 2.60)."""

PLACES = {
    *("dataset", "url", "pool", "evaluation", "pairs", "validation"),
    *("mixture", "snapshot", "tars", "to", "run", "checkpoints", "fork"),
}
"""Fields and arguments that name data or results: what all machines must see at one place."""

LOCAL_MODEL = "local-dir:"
SAME_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file in the parcel, so that the same files are the same parcel, sent once."""


def check_places(where: str, fields: dict[str, Any]) -> None:
    """Raises HeadraceError if data or results are at a relative path, which each machine of a
    cluster would look for in a folder of its own. `where` names what the fields are of."""
    for field, text in _strings(fields):
        if field.rpartition(".")[2] in PLACES and _is_relative(text):
            raise HeadraceError(
                f"{where}: {field}: {text!r} is a path in this folder, which the machines of the "
                "cluster do not share; give a URL, or an absolute path that all of them see"
            )


def named_files(where: str, fields: dict[str, Any]) -> dict[str, Path]:
    """The local files that relative paths in these fields name, by their places in the parcel.

    Raises HeadraceError for one outside of the current folder: it could not lie at its place.
    """
    found = dict[str, Path]()
    for field, text in _strings(fields):
        path = Path(text.removeprefix(LOCAL_MODEL))
        is_folder = text.startswith(LOCAL_MODEL) and path.is_dir()
        if field.rpartition(".")[2] in PLACES or not _is_relative(str(path)):
            continue
        if not (is_folder or path.is_file()):
            continue
        if os.path.relpath(path).startswith(".."):
            raise HeadraceError(
                f"{where}: {field}: {text!r} lies outside of the current folder; submit from a "
                "folder that holds it, or give a URL"
            )
        files = (inner for inner in sorted(path.rglob("*")) if inner.is_file())
        found |= {os.path.relpath(file): file for file in (files if is_folder else (path,))}
    return found


def code() -> dict[str, Path]:
    """The files of headrace's packages, by their places in the parcel."""
    root = Path(jobs.__file__).parent.parent
    found = dict[str, Path]()
    for package in PACKAGES:
        for folder, inner, names in os.walk(root / package):
            inner[:] = sorted(set(inner) - STAYS)
            paths = (Path(folder) / name for name in sorted(names))
            found |= {str(path.relative_to(root)): path for path in paths}
    return found


def pack(target: Path, files: dict[str, Path]) -> None:
    """Writes the files as one zip. Raises HeadraceError if they are too many bytes to travel."""
    sizes = {place: path.stat().st_size for place, path in files.items()}
    if (total := sum(sizes.values())) > LIMIT:
        largest = max(sizes, key=sizes.__getitem__)
        raise HeadraceError(
            f"{largest}: {sizes[largest] / 2**20:,.0f} MiB; what the config names has "
            f"{total / 2**20:,.0f} MiB in all, and {LIMIT // 2**20} can travel with a job; put it "
            "on the machines or into a store, and give its absolute path or URL"
        )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as parcel:
        for place, path in sorted(files.items()):
            entry = zipfile.ZipInfo(place, SAME_DATE)
            entry.external_attr = 0o644 << 16
            parcel.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


def _strings(fields: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text in nested fields, under the dotted name of the field that holds it."""
    if isinstance(fields, str):
        yield name, fields
    elif isinstance(fields, dict):
        for key, value in fields.items():
            yield from _strings(value, f"{name}.{key}".lstrip("."))
    elif isinstance(fields, list | tuple):
        for value in fields:
            yield from _strings(value, name)


def _is_relative(text: str) -> bool:
    return "://" not in text and not os.path.isabs(os.path.expanduser(text))
