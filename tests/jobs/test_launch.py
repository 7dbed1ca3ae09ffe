"""Ranks as torchrun starts them, and `headrace train`: what ends them, with which exit code."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.jobs.training import endless, make_mixture, newest, wait_for_log

pytestmark = pytest.mark.slow

RUN = """
import sys
from jobs import launch
sys.exit(launch.run(["-c", sys.argv[1], sys.argv[2]], 2, int(sys.argv[3])) % 256)
"""

READY = """
import os, sys, time, signal, threading
from pathlib import Path
folder, rank = Path(sys.argv[1]), os.environ["RANK"]
asked = []
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, lambda number, frame: asked.append(number))
def end(code):
    Path(os.environ["HEADRACE_ENDS"], rank).write_text(str(code))
    sys.exit(code)
(folder / f"{rank}-ready").touch()
"""

SAVES_LONG = READY + "while not asked: time.sleep(0.01)\ntime.sleep(1.5)\nend(75)"
DEAF = READY + "while True: time.sleep(0.01)"


def start(script: str, folder: Path, stop_within: int = 20) -> subprocess.Popen:
    command = [sys.executable, "-c", RUN, script, str(folder), str(stop_within)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def indented(lines: str) -> str:
    return textwrap.indent(lines, "    ")


def wait_for_ranks(process: subprocess.Popen, folder: Path) -> None:
    while len(list(folder.glob("*-ready"))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_reaches_the_ranks_whose_code_is_then_the_launchers(tmp_path, number):
    process = start(SAVES_LONG, tmp_path)
    wait_for_ranks(process, tmp_path)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    assert "death signal" not in err, "the launcher says nothing of a clean stop"
    assert "Traceback" not in err


def test_a_rank_that_stops_by_itself_takes_the_others_along(tmp_path):
    first = (
        READY + "import time\nif rank == '1': end(75)\nwhile not asked: time.sleep(0.01)\nend(75)"
    )
    assert start(first, tmp_path).wait(timeout=120) == 75


def test_ranks_that_do_not_stop_in_time_are_killed_and_it_is_no_clean_stop(tmp_path, monkeypatch):
    hasty = RUN.replace("sys.exit(", "launch.MARGIN = 0\nsys.exit(")
    monkeypatch.setitem(globals(), "RUN", hasty)
    process = start(DEAF, tmp_path, stop_within=1)
    wait_for_ranks(process, tmp_path)
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGTERM % 256


@pytest.mark.parametrize("code", [0, 3])
def test_the_code_of_the_rank_that_failed_is_the_launchers(tmp_path, code):
    script = f"import os, sys\nsys.exit({code} if os.environ['RANK'] == '1' else 0)"
    assert start(script, tmp_path).wait(timeout=120) == code


def test_a_rank_that_stood_still_is_told_from_one_that_failed_because_of_it(tmp_path):
    wait = "while not {}: time.sleep(0.01)\n"
    fails = wait.format("(folder / '1-ready').exists()") + "sys.exit(1)"
    hangs = wait.format("asked") + "sys.exit(70)"
    script = f"{READY}if rank == '0':\n{indented(fails)}\n{hangs}"
    assert start(script, tmp_path).wait(timeout=120) == 70


@pytest.mark.parametrize(("ranks", "number"), [(1, signal.SIGUSR1), (2, signal.SIGTERM)])
def test_a_signal_to_the_command_ends_training_with_a_checkpoint_and_its_own_exit_code(
    tmp_path, demo_data, headrace, ranks, number
):
    config = endless(tmp_path, make_mixture(tmp_path / "data", demo_data), "run")
    process = headrace.start("train", config, "--nproc", ranks)
    wait_for_log(tmp_path / "run", process)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    assert f"error: {tmp_path / 'run'}: stopped by a signal, with" in err
    assert "Traceback" not in err
    assert newest(tmp_path / "run")


def test_a_terminals_ctrl_c_reaches_the_ranks_and_is_one_wish(tmp_path, demo_data, headrace):
    config = endless(tmp_path, make_mixture(tmp_path / "data", demo_data), "run")
    process = headrace.start("train", config, "--nproc", "2")
    wait_for_log(tmp_path / "run", process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    assert newest(tmp_path / "run")
    assert "Traceback" not in err


def test_ranks_are_told_by_an_environment_that_is_theirs_alone():
    script = (
        "import os\nfrom jobs import launch\nbefore = dict(os.environ)\n"
        "code = launch.run(['-c', 'import os; os.environ[\"HEADRACE_ENDS\"]'], 1, 5)\n"
        "assert (code, dict(os.environ)) == (0, before)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
