import re
import shutil
import subprocess
import sys
from pathlib import Path

import PIL
import pytest

from tests.docker.files import DOCKER, DOCKERFILES, PROJECT, ROOT, instructions

HADOLINT = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
each = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)


def stages(dockerfile: Path) -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions(dockerfile):
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def test_there_is_an_image_for_ray_and_one_for_the_trainer() -> None:
    assert [path.name for path in DOCKERFILES] == ["ray.Dockerfile", "trainer.Dockerfile"]


@pytest.mark.skipif(HADOLINT is None, reason="no hadolint beside this Python: `make setup`")
@each
def test_a_dockerfile_passes_the_linter(dockerfile: Path) -> None:
    linted = subprocess.run(
        [HADOLINT, "--no-color", dockerfile], capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout


@each
def test_an_image_is_set_up_by_the_script_that_make_calls(dockerfile: Path) -> None:
    build, _ = stages(dockerfile)
    (run,) = [rest for word, rest in build if word == "RUN" and "scripts/setup.sh" in rest]
    assert "pip install" not in dockerfile.read_text()
    assert "[ -s .venv/.simd ]" in run  # what the script writes last, where pillow-simd is in
    assert '>"$VENV/.simd"' in (ROOT / "scripts" / "setup.sh").read_text()


@each
def test_an_image_builds_pillow_simd_with_avx2(dockerfile: Path) -> None:
    build, _ = stages(dockerfile)
    assert ("ARG", "HEADRACE_SIMD=avx2") in build


@each
def test_an_image_ends_as_a_user_who_is_not_root(dockerfile: Path) -> None:
    *_, last = stages(dockerfile)
    users = [rest for word, rest in last if word == "USER"]
    assert users == ["1000"]
    assert [word for word, _ in last[-3:]] == ["USER", "WORKDIR", "CMD"]


def test_both_images_stand_on_one_python_pinned_by_its_digest() -> None:
    bases = {
        rest.removesuffix(" AS build")
        for path in DOCKERFILES
        for word, rest in instructions(path)
        if word == "FROM"
    }
    (base,) = bases
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)


@each
def test_an_image_takes_no_compiler_of_the_build_along(dockerfile: Path) -> None:
    *_, last = stages(dockerfile)
    installed = " ".join(rest for word, rest in last if word == "RUN").split()
    assert "build-essential" not in installed
    assert {name for name in installed if name.endswith("-dev")} <= {"libc6-dev"}  # for compile


@each
def test_what_is_sent_to_the_builder_is_what_the_package_is_made_of(dockerfile: Path) -> None:
    lines = (DOCKER / f"{dockerfile.name}.dockerignore").read_text().split("\n")
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines  # all else stays out: secrets, the git history, this machine's .venv
    found = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    files = {"scripts", "constraints.txt", "pyproject.toml", "README.md", "LICENSE"}
    assert sent == {name.removesuffix("*") for name in found} | files
    assert all((ROOT / name).exists() for name in sent)


@each
def test_the_libraries_of_an_image_are_those_that_pillow_simd_links_to(dockerfile: Path) -> None:
    release = Path("/etc/os-release")
    if not release.exists() or "bookworm" not in release.read_text():
        pytest.skip("the names are Debian 12's")
    if ".post" not in PIL.__version__:
        pytest.skip("pillow-simd is not in this environment")
    *_, last = stages(dockerfile)
    named = {name for _, rest in last for name in re.findall(r"\blib[a-z]\S+", rest)}
    assert len(named - {"libc6-dev"}) == 8
    assert named - {"libc6-dev"} <= linked()


def linked() -> set[str]:
    """Debian's packages of all that this environment's PIL loads."""
    extensions = sorted(Path(PIL.__file__).parent.glob("*.so"))
    listed = subprocess.run(["ldd", *extensions], capture_output=True, text=True, check=True)
    paths = {Path(path).resolve() for path in re.findall(r"=> (/\S+)", listed.stdout)}
    owners = subprocess.run(
        ["dpkg", "-S", *(name for path in paths for name in (path, *_as_packed(path)))],
        capture_output=True,
        text=True,
        check=False,
    )
    return set(re.findall(r"^([^:\s]+):", owners.stdout, re.M))


def _as_packed(path: Path) -> list[str]:
    """/lib is a link to /usr/lib, and packages of Debian 12 name either."""
    return [str(path).removeprefix("/usr")]


def test_the_readme_names_every_file_and_every_argument_of_a_build() -> None:
    readme = (DOCKER / "README.md").read_text()
    files = [*DOCKERFILES, DOCKER / "compose.yaml", *(DOCKER / "kubernetes").iterdir()]
    assert [path.name for path in files if path.name not in readme] == []
    arguments = {
        rest.partition("=")[0]
        for dockerfile in DOCKERFILES
        for word, rest in instructions(dockerfile)
        if word == "ARG"
    }
    assert arguments == set(re.findall(r"^\| `(\w+)=", readme, re.M))
