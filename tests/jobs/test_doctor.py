import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from jobs import doctor
from jobs.looks.finding import GIB, Finding, State
from jobs.looks.images import image_library
from jobs.looks.machine import disk, shared_memory

ROOT = Path(__file__).parent.parent.parent

LOOK = """
import dataclasses, json, sys
{before}
from jobs import doctor
print(json.dumps([dataclasses.asdict(f) for f in doctor.{look}]))
"""


def look_elsewhere(look: str, before: str = "", **environment: str) -> list[Finding]:
    """What `doctor.<look>` finds in a fresh interpreter, where `before` ran first."""
    path = os.pathsep.join([*filter(None, [environment.pop("PYTHONPATH", "")]), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", LOOK.format(look=look, before=before)],
        env={**os.environ, "PYTHONPATH": path, **environment},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    return [Finding(**finding) for finding in json.loads(done.stdout.splitlines()[-1])]


def problems(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.state == "problem"]


# --- import names ------------------------------------------------------------------------------


def test_our_own_packages_are_no_problem() -> None:
    assert not problems(look_elsewhere("look_at_names()"))


@pytest.mark.parametrize("kind", ["package", "module"])
def test_a_package_that_shadows_ours_is_named_with_its_place(tmp_path: Path, kind: str) -> None:
    if kind == "package":
        (tmp_path / "trainer").mkdir()
        (tmp_path / "trainer" / "__init__.py").touch()
        place = tmp_path / "trainer"
    else:
        place = tmp_path / "trainer.py"
        place.touch()
    (problem,) = problems(look_elsewhere("look_at_names()", PYTHONPATH=str(tmp_path)))
    assert "import trainer" in problem.what
    assert str(place) in problem.what
    assert str(tmp_path) in problem.fix


def test_a_package_that_ours_hides_is_only_noted(tmp_path: Path) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").touch()
    before = f"sys.path.append({str(tmp_path)!r})"
    findings = look_elsewhere("look_at_names()", before)
    assert not problems(findings)
    (note,) = [finding for finding in findings if finding.state == "note"]
    assert str(tmp_path / "pipeline") in note.what


# --- missing libraries -------------------------------------------------------------------------


def missing(*names: str) -> str:
    return "; ".join(f"sys.modules[{name!r}] = None" for name in names)


def test_every_library_may_be_missing_at_once() -> None:
    names = ("PIL", "torch", "torchvision", "open_clip", "ray", "fsspec", "s3fs", "rich")
    found = problems(look_elsewhere("inspect()", missing(*names)))
    text = " ".join(f"{finding.topic} {finding.what}" for finding in found)
    for name in ("PIL", "torch", "ray", "fsspec"):
        assert name in text
    assert all(finding.fix for finding in found)


def test_a_missing_s3fs_leaves_local_files_working() -> None:
    findings = look_elsewhere("look_at_storage()", missing("s3fs"))
    assert [finding.state for finding in findings] == ["ok", "problem"]
    assert "s3://" in findings[1].what


def test_a_look_that_raises_becomes_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def look():
        yield Finding("x", "ok", "first")
        raise OSError("the disk\nis gone")

    monkeypatch.setattr(doctor, "LOOKS", (("x", look),))
    first, second = doctor.inspect()
    assert first.state == "ok"
    assert second.state == "problem"
    assert "OSError: the disk" in second.what


def test_without_rich_the_command_still_speaks_and_fails() -> None:
    script = f"import sys; {missing('rich', 'torch')}; from jobs import doctor; "
    script += "doctor.LOOKS = doctor.LOOKS[2:3]; sys.exit(doctor.run())"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "torch" in done.stdout
    assert not done.stderr


# --- images ------------------------------------------------------------------------------------


def test_every_codec_is_tried_and_the_broken_one_is_named() -> None:
    before = """
from PIL import Image
def broken(*args, **kwargs): raise OSError("encoder error -2")
Image.preinit(); Image.init()
Image.SAVE["WEBP"] = broken
"""
    findings = look_elsewhere("look_at_images()", before)
    (problem,) = problems(findings)
    assert "no WEBP" in problem.what
    assert "encoder error -2" in problem.what
    assert "JPEG, PNG, TIFF, JPEG2000" in findings[-1].what


def test_plain_pillow_over_pillow_simd_is_a_problem() -> None:
    assert image_library("12.1.1.post0", "12.1.1.post0").state == "ok"
    assert image_library("12.1.1", "").state == "note"
    assert image_library("13.0.0", "12.1.1.post0").state == "problem"


# --- storage -----------------------------------------------------------------------------------

NO_AWS = {name: "" for name in os.environ if name.startswith("AWS_")}


def test_credentials_are_found_and_never_shown(tmp_path: Path) -> None:
    nowhere = {**NO_AWS, "HOME": str(tmp_path)}
    keys = {"AWS_ACCESS_KEY_ID": "AKIDOPENSESAME", "AWS_SECRET_ACCESS_KEY": "sesame-secret"}
    endpoint = {"AWS_ENDPOINT_URL": "http://who:sesame-secret@store:9000"}
    (found,) = look_elsewhere("look_at_storage()", **nowhere, **keys, **endpoint)[2:]
    assert found.state == "ok"
    assert "http://store:9000" in found.what
    assert "SESAME" not in f"{found}".upper()


def test_no_credentials_is_a_note_and_a_file_is_a_source(tmp_path: Path) -> None:
    nowhere = {**NO_AWS, "HOME": str(tmp_path)}
    (absent,) = look_elsewhere("look_at_storage()", **nowhere)[2:]
    assert absent.state == "note"
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[default]\naws_secret_access_key = hush\n")
    (found,) = look_elsewhere("look_at_storage()", **nowhere)[2:]
    assert str(tmp_path / ".aws" / "credentials") in found.what
    assert "hush" not in f"{found}"


# --- the machine, and the command --------------------------------------------------------------


def test_a_containers_default_shared_memory_is_noted() -> None:
    assert shared_memory(64 << 20).state == "note"
    assert shared_memory(8 * GIB).state == "ok"


def test_a_full_disk_is_a_problem() -> None:
    states = [disk(free, Path("/data")).state for free in (GIB, 10 * GIB, 100 * GIB)]
    assert states == ["problem", "note", "ok"]


def test_the_table_shows_what_is_wrong_and_what_to_do() -> None:
    out = io.StringIO()
    findings = [Finding("a", "ok", "[fine]"), Finding("b", "problem", "torn", "sew it [up]")]
    doctor.render(findings, Console(file=out, width=100))
    for text in ("[fine]", "torn", "sew it [up]", "1 problem(s), 0 note(s)"):
        assert text in out.getvalue()


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("note", 0), ("problem", 1)])
def test_only_a_problem_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, state: State, code: int
) -> None:
    monkeypatch.setattr(doctor, "inspect", lambda: [Finding("a", state, "so")])
    assert doctor.run() == code
