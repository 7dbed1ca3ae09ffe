"""A Ray cluster of two nodes on this machine, each in processes of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.processes import kill_session

RAY = Path(sys.executable).with_name("ray")
OPTIONS = ["--object-store-memory=200000000", "--memory=4000000000", "--block"]

QUICK = {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3"}
"""A dead node is noticed in seconds, which a cluster over a real network must not be."""


@dataclass(frozen=True)
class Cluster:
    """The sessions of its nodes, and the environment of processes that use it."""

    head: int
    second: int | None
    environment: dict[str, str]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(folder: Path, nodes: int) -> Iterator[Cluster]:
    """One or two nodes with a processor each (a single one has two), gone with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text("0" * 64)
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    environment = os.environ | QUICK | token | {"RAY_USAGE_STATS_ENABLED": "0"}
    port = free_port()
    address = f"127.0.0.1:{port}"
    with ExitStack() as stack:

        def start(name: str, *words: str) -> int:
            log = stack.enter_context((folder / f"{name}.log").open("w"))
            command = [RAY, "start", *words, f"--num-cpus={2 // nodes}", *OPTIONS]
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
            stack.callback(kill_session, process.pid)
            while "--block" not in (folder / f"{name}.log").read_text():
                assert process.poll() is None, (folder / f"{name}.log").read_text()
                time.sleep(0.1)
            return process.pid

        ports = [f"--port={port}", f"--ray-client-server-port={free_port()}"]
        head = start("head", "--head", *ports, "--include-dashboard=false")
        second = start("second", f"--address={address}") if nodes == 2 else None
        yield Cluster(head, second, environment | {"RAY_ADDRESS": address})
