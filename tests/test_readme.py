"""The README says what is there."""

import re
from pathlib import Path

import pytest
import typer.main
import yaml

from jobs.cli import app
from jobs.config import CurateConfig

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "line", sorted(set(re.findall(r"^ {4}.*?headrace (\w.*?)(?:  |$)", README, re.M)))
)
def test_every_command_in_it_exists_with_its_options(line):
    command = typer.main.get_command(app)
    words = line.split()
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not hasattr(command, "commands"), line
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_file_it_names_is_there():
    for name in re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r"`(jobs/[\w./-]+)`", README):
        if not name.startswith("http"):
            assert (ROOT / name).exists(), name


def test_the_curation_that_it_shows_is_a_good_config():
    shown = re.search(r"```yaml\n# web\.yaml\n(.*?)```", README, re.S)
    CurateConfig.model_validate(yaml.safe_load(shown[1]))


def test_every_make_target_in_it_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"make ([a-z]+)", README.partition("## Curate")[0])) >= {"demo", "test"}
    assert set(re.findall(r"`make ([a-z]+)`", README)) <= targets
