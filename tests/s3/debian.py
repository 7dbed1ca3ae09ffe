"""Debian packages laid out in a folder of the user's: nothing is installed, nobody need be root."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path


class NotToBeHad(Exception):
    """Why packages cannot be fetched here."""


def unpacked(name: str, packages: list[str]) -> Path:
    """The root under which the packages lie, with all that they need and this machine lacks.

    Fetched the first time, and kept in the user's cache. Raises NotToBeHad.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace-tests"
    root = cache / name
    if root.exists():
        return root
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise NotToBeHad(f"{name} is fetched with apt-get and dpkg, which are not here")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as made:
        _fetch(packages, Path(made, "debs"))
        for deb in sorted(Path(made, "debs").glob("*.deb")):
            _run("dpkg", "-x", deb, Path(made, "root"))
        if not root.exists():
            Path(made, "root").rename(root)
    return root


def _fetch(packages: list[str], folder: Path) -> None:
    folder.mkdir()
    try:
        names = _needed(packages)
    except NotToBeHad:
        _run("apt-get", "-qq", "update")  # a fresh machine has no lists
        names = _needed(packages)
    _run("apt-get", "-qq", "download", *names, folder=folder)


def _needed(packages: list[str]) -> list[str]:
    plan = _run("apt-get", "-qq", "--simulate", "--no-install-recommends", "install", *packages)
    return [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]


def _run(*words: str | Path, folder: Path | None = None) -> str:
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise NotToBeHad(f"{' '.join(map(str, words[:4]))}: {done.stderr.strip()[-300:]}")
    return done.stdout
