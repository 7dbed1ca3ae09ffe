"""A Ray cluster on this machine: a head with a dashboard, and workers that come and go."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.cluster import QUICK, RAY, free_port
from tests.chaos.processes import kill_session

OPTIONS = ["--node-ip-address=127.0.0.1", "--object-store-memory=100000000", "--block"]
MEMORY = "--memory=2000000000"


class Nodes:
    """The nodes by name. Each has a resource of its name, by which it is told from the others."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, dict[str, subprocess.Popen]()
        (folder / "token").write_text("1" * 64)
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
        self.environment = os.environ | token
        """Of processes that use the cluster. Ray reads it once: this process is none of them."""
        self.gcs = f"127.0.0.1:{free_port()}"
        self.url = f"http://127.0.0.1:{free_port()}"

    def start_head(self) -> None:
        """No processor, as a head of a real cluster has none to spare for tasks."""
        ports = [f"--port={self.gcs.rpartition(':')[2]}", f"--ray-client-server-port={free_port()}"]
        page = ["--include-dashboard=true", f"--dashboard-port={self.url.rpartition(':')[2]}"]
        self._start("head", "--head", *ports, *page, cpus=0)
        self._wait("head")

    def start(self, *names: str, **resources: float) -> None:
        """Workers with one processor each join, at one time."""
        for name in names:
            self._start(name, f"--address={self.gcs}", cpus=1, **resources)
        for name in names:
            self._wait(name)

    def lose(self, name: str) -> None:
        """SIGKILL for every process of the node, as when its machine loses power."""
        kill_session(self.processes.pop(name).pid)

    def ray(self, *words: str) -> str:
        """What a command of Ray's prints about the cluster."""
        command = [RAY, *words, "--address", self.url]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _start(self, name: str, *words: str, cpus: int, **resources: float) -> None:
        what = [f"--num-cpus={cpus}", f"--resources={json.dumps({name: 1} | resources)}", MEMORY]
        # Nodes of one machine that share a folder unpack a job's files over each other's.
        own = [f"--temp-dir={self.folder / name}", f"--dashboard-agent-listen-port={free_port()}"]
        path = f"{RAY.parent}{os.pathsep}{os.environ['PATH']}"  # jobs begin with `python`
        environment = self.environment | QUICK | {"PATH": path, "PYTHONPATH": ""}
        with (self.folder / f"{name}.log").open("w") as out:
            process = subprocess.Popen(
                [RAY, "start", *words, *what, *own, *OPTIONS],
                stdout=out,
                stderr=out,
                env=environment,
                cwd="/",  # where no headrace is to be imported from
                start_new_session=True,
            )
        self.processes[name] = process

    def _wait(self, name: str) -> None:
        log, process = self.folder / f"{name}.log", self.processes[name]
        while "--block" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)


@contextmanager
def running() -> Iterator[Nodes]:
    """A head alone, to which the block adds workers; gone with the block."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # short: Ray's sockets lie below it
    nodes = Nodes(folder)
    try:
        nodes.start_head()
        yield nodes
    finally:
        for name in list(nodes.processes):
            nodes.lose(name)
        shutil.rmtree(folder, ignore_errors=True)
