"""The examples run as they stand, and so do those in docs/stream.md."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import typer.main
import yaml

from jobs.cli import app
from jobs.config import MixConfig

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "stream.md").read_text()


@pytest.mark.slow
def test_ten_lines_train_a_timm_model_for_twenty_steps(tmp_path):
    example = ROOT / "examples" / "timm_ten_lines.py"
    process = subprocess.run(
        [sys.executable, example],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HEADRACE_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert process.returncode == 0, process.stderr
    losses = [float(loss) for loss in re.findall(r"^step \d+  loss (\S+)$", process.stdout, re.M)]
    assert len(losses) == 20
    assert sum(losses[-5:]) / 5 < losses[0]


def test_the_mixture_that_the_docs_show_is_a_good_config():
    blocks = [textwrap.dedent(block) for block in re.findall(r"(?:^ {4}.*\n)+", DOCS, re.M)]
    shown = [block for block in blocks if block.startswith(("mixture:", "materialise:"))]
    assert len(shown) == 2
    fields = yaml.safe_load("".join(shown))
    assert MixConfig.model_validate(fields).materialise


def test_every_command_and_file_in_the_docs_exists():
    root = typer.main.get_command(app)
    for line in re.findall(r"headrace ([a-z][^`#\n]*)", DOCS):
        command, words = root, line.split()
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert not hasattr(command, "commands"), line
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line
    for name in re.findall(r"`((?:examples|trainer|tests)/[\w./-]+)`", DOCS):
        assert (ROOT / name).exists(), name
