"""Every command of the pages for people who run headrace is run, in the page's order."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import s3fs
import typer.main
import yaml

from jobs import cluster
from jobs.cli import app
from pipeline import plan
from pipeline.format.snapshot import read_snapshot
from tests.conftest import DEMO_DATA
from tests.docs import page
from tests.docs.page import Command, File, Program
from tests.jobs import door

RUN = ("operating.md", "curating.md", "trainers.md", "format.md", "refresh.md")
PAGES = sorted(path.name for path in page.DOCS.glob("*.md"))
ROOT = Path(__file__).parents[2]


@pytest.fixture
def bucket(monkeypatch):
    """s3://bucket, on a server of this machine."""
    with door.s3() as (_, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def ray():
    """One Ray for all pages."""
    with cluster.session(2):
        yield


class Reader:
    """Does what a page says, in a folder that has what the page's first lines ask for."""

    def __init__(self, folder: Path, headrace) -> None:
        self.folder, self.headrace = folder, headrace
        self.names: dict[str, str] = {}

    def prepare(self) -> None:
        """The demo's data where it lies in a checkout, and a pool and config of its first tar."""
        (self.folder / "jobs").mkdir()
        (self.folder / "jobs" / "demo_data").symlink_to(DEMO_DATA)
        (self.folder / "pool").mkdir()
        shutil.copy(DEMO_DATA / "pool" / "00000000.tar", self.folder / "pool")
        deny = {"deny": [{"kind": "domain", "values": ["taken.example"]}]}
        fields = {
            "dataset": "data/web",
            "sources": [{"url": "pool/*.tar"}],
            "decide": {"lists": deny},
        }
        (self.folder / "weekly.yaml").write_text(yaml.safe_dump(fields))

    def do(self, step: page.Step) -> None:
        """One step; fails if it does not end as the page says."""
        if isinstance(step, File):
            (self.folder / step.name).write_text(step.text)
            return
        if isinstance(step, Command) and step.line.startswith("python -m "):
            assert find_spec(step.line.split()[2])  # a benchmark, which has tests of its own
            return
        line, code = (step.text, 0) if isinstance(step, Program) else (step.line, step.code)
        ended = self._run(step, line)
        assert ended.returncode == code, f"{line}\n{ended.stdout}{ended.stderr}"
        self._learn()

    def _run(self, step: Program | Command, line: str) -> subprocess.CompletedProcess:
        if isinstance(step, Program):
            return self._process(sys.executable, "-c", line)
        for name, value in self.names.items():
            line = re.sub(rf"\b{name}\b", value, line)
        words = shlex.split(line)
        if words[0] == "headrace":
            return self.headrace(*words[1:])
        return self._process("bash", "-c", line)

    def _process(self, *words: str) -> subprocess.CompletedProcess:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)

    def _learn(self) -> None:
        """NEWEST is the newest snapshot, ID the one before, UID an image that the first kept."""
        if Path("data/web/LATEST").exists():
            snapshot = read_snapshot("data/web")
            self.names |= {"NEWEST": snapshot.id, "ID": snapshot.parent or snapshot.id}
            if "UID" not in self.names:
                verdicts = plan.read_part(snapshot.url, 0, ["uid", "keep"])
                self.names["UID"] = verdicts.filter(verdicts["keep"])["uid"][0].as_py()


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_everything_on_the_page_runs(name, tmp_path, monkeypatch, headrace_here, ray, request):
    if "s3://bucket" in (page.DOCS / name).read_text():
        request.getfixturevalue("bucket")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    reader = Reader(tmp_path, headrace_here)
    reader.prepare()
    for step in page.steps(name):
        reader.do(step)


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_the_docs_exists_with_its_options(name):
    for line in page.commands(name):
        command, words = typer.main.get_command(app), line.split()[1:]
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        if hasattr(command, "commands"):
            assert not words or re.match(r"[A-Z]+$|…|\[|<", words[0]), line
            continue
        known = {option for parameter in command.params for option in parameter.opts}
        unknown = {word for word in words if word.startswith("--")} - known
        assert not unknown or command.name == "submit", line


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_the_docs_leads_somewhere(name):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", (page.DOCS / name).read_text())
    lost = [link for link in links if "://" not in link and not (page.DOCS / link).exists()]
    assert not lost
