import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import PIL
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from jobs import doctor

ROOT = Path(__file__).parent.parent
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
PINNED = {canonicalize_name(name): version for name, version in PINS.items()}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [
    Requirement(line)
    for lines in (
        PROJECT["dependencies"],
        *(PROJECT["optional-dependencies"][extra] for extra in ("dev", "safety", "imagenet")),
    )
    for line in lines
    if not line.startswith("headrace")
]
SCRIPTS = [*sorted((ROOT / "scripts").glob("*.sh")), ROOT / ".ci" / "run"]


def call(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def fake_python(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


# --- pins --------------------------------------------------------------------------------------


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_a_direct_dependency_is_pinned_within_its_range(requirement: Requirement) -> None:
    pin = PINNED[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin, prereleases=True)


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_the_environment_has_the_pinned_version(requirement: Requirement) -> None:
    running = Version(metadata.version(requirement.name))
    pin = PINNED[canonicalize_name(requirement.name)]
    assert running.public == pin, "run `make setup`"


def test_what_every_dependency_needs_is_pinned_too() -> None:
    unpinned = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = list(DIRECT)
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        extras = frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name not in PINNED:
            unpinned.add(name)
        for line in metadata.requires(name) or []:
            need = Requirement(line)
            marks = [{"extra": extra} for extra in (extras or {""})]
            if need.marker is None or any(need.marker.evaluate(mark) for mark in marks):
                todo.append(need)
    assert not unpinned


def test_pillow_and_pillow_simd_are_pinned_to_one_release() -> None:
    assert Version(PINNED["pillow-simd"]).base_version == PINNED["pillow"]


def test_no_installed_package_lacks_or_contradicts_another() -> None:
    checked = call(sys.executable, "-m", "pip", "check")
    assert checked.returncode == 0, checked.stdout


# --- the image library -------------------------------------------------------------------------


def test_the_image_library_in_use_is_sound_and_the_one_doctor_names() -> None:
    checked = call(sys.executable, ROOT / "scripts" / "check_pillow.py", PIL.__version__)
    assert checked.returncode == 0, checked.stderr
    finding = next(doctor.look_at_images())
    assert PIL.__version__ in finding.what
    assert ("pillow-simd" in finding.what.split()[0]) == (".post" in PIL.__version__)
    assert finding.state != "problem"


def test_pip_believes_in_the_image_library_that_is_imported() -> None:
    simd = ".post" in PIL.__version__
    assert metadata.version("pillow").endswith("+simd") == simd
    assert simd == any(
        d.metadata["Name"].lower() == "pillow-simd" for d in metadata.distributions()
    )


def test_a_build_without_a_codec_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from PIL import features\n"
        "real = features.check\n"
        "features.check = lambda name: name not in ('webp', 'libtiff') and real(name)\n"
    )
    checked = call(sys.executable, ROOT / "scripts" / "check_pillow.py", PYTHONPATH=str(tmp_path))
    assert checked.returncode == 1
    assert "built without webp, libtiff" in checked.stderr


def test_a_build_that_resizes_wrongly_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from PIL import Image\n"
        "real = Image.Image.resize\n"
        "Image.Image.resize = lambda self, size, how: real(self, size, Image.Resampling.NEAREST)\n"
    )
    checked = call(sys.executable, ROOT / "scripts" / "check_pillow.py", PYTHONPATH=str(tmp_path))
    assert checked.returncode == 1
    assert "resize to 32x32 is off by" in checked.stderr


# --- make and the scripts ----------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_parses_and_may_be_run(script: Path) -> None:
    assert call("bash", "-n", script).returncode == 0
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()


def test_a_python_that_is_only_a_name_is_passed_over(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3.12", "exit 127")  # as pyenv leaves it
    fake_python(tmp_path, "python3.11", f'exec "{sys.executable}" "$@"')
    path = f"{tmp_path}{os.pathsep}{os.defpath}"
    found = call(ROOT / "scripts" / "find_python.sh", PATH=path, PYTHON="")
    assert found.stdout.strip() == sys.executable


def test_without_a_suitable_python_the_remedy_is_named(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3.9", "exit 1")
    found = call(ROOT / "scripts" / "find_python.sh", PYTHON=str(tmp_path / "python3.9"))
    assert found.returncode == 1
    assert "Python 3.11 or 3.12" in found.stderr
    assert "make setup PYTHON=" in found.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files that make looks at, and the stamp of a set-up that is newer than they."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".ready").touch()
    return tmp_path


def test_a_second_setup_has_nothing_to_do(tree: Path) -> None:
    assert call("make", "-q", "-C", tree, ".venv/.ready").returncode == 0


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "scripts/setup.sh"])
def test_setup_is_due_again_when_its_inputs_change(tree: Path, name: str) -> None:
    later = (tree / ".venv" / ".ready").stat().st_mtime + 5
    os.utime(tree / name, (later, later))
    assert call("make", "-q", "-C", tree, ".venv/.ready").returncode == 1


def test_an_interrupted_setup_is_begun_anew(tree: Path) -> None:
    finished = subprocess.Popen(["true"])
    finished.wait()
    (tree / ".venv" / ".setting-up").write_text(f"{finished.pid}\n")
    (tree / ".venv" / "half-installed").touch()
    fake_python(
        tree,
        "python",
        'case "$*" in "-m venv"*) exit 9;; *"print(sys.executable)"*) echo "$0"; exit;; esac\n'
        f'exec "{sys.executable}" "$@"',
    )
    made = call(tree / "scripts" / "setup.sh", PYTHON=str(tree / "python"), VENV=".venv")
    assert made.returncode == 1
    assert "interrupted; beginning anew" in made.stdout
    assert not (tree / ".venv" / "half-installed").exists()
    assert not (tree / ".venv" / ".ready").exists()


def test_a_setup_that_is_still_running_is_left_alone(tree: Path) -> None:
    (tree / ".venv" / ".setting-up").write_text(f"{os.getpid()}\n")
    made = call(tree / "scripts" / "setup.sh", PYTHON=sys.executable, VENV=".venv")
    assert made.returncode == 1
    assert "Another set-up" in made.stderr
    assert (tree / ".venv").is_dir()
