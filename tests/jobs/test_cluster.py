"""A Ray that somebody else started on this machine: used when named, left alone when not."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.jobs import curation

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def head(tmp_path, monkeypatch):
    """The address of a Ray head in processes of its own, which ends with the test."""
    token = tmp_path / "token"
    token.write_text("0" * 64)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    port = free_port()
    ray = Path(sys.executable).with_name("ray")
    options = ["--num-cpus=2", "--include-dashboard=false", "--object-store-memory=100000000"]
    command = [ray, "start", "--head", f"--port={port}", *options, "--block"]
    log = (tmp_path / "ray.log").open("w")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    while "--block" not in (tmp_path / "ray.log").read_text():
        assert process.poll() is None, (tmp_path / "ray.log").read_text()
        time.sleep(0.2)
    yield f"127.0.0.1:{port}"
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    log.close()


def test_a_named_cluster_and_one_of_our_own_beside_it_give_the_same_bytes(
    head, tmp_path, headrace, monkeypatch
):
    made = []
    for name, address in (("theirs", head), ("ours", "")):
        folder = tmp_path / name
        folder.mkdir()
        if address:
            monkeypatch.setenv("RAY_ADDRESS", address)
        else:
            monkeypatch.delenv("RAY_ADDRESS")
        done = headrace("curate", curation.config_file(folder))
        assert done.returncode == 0, done.stderr
        made.append(curation.contents(folder / "dataset"))
    assert made[0] == made[1]
