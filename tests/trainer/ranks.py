"""Ranks that run a script: processes with the world in their environment, none left behind."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def worlds(count: int) -> list[dict[str, str]]:
    """What torchrun would tell each of `count` ranks of one machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    world |= {"LOCAL_WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    return [world | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


@contextmanager
def ranks(count: int, script: str, *words: str | Path) -> Iterator[list[subprocess.Popen]]:
    """`count` processes that run this text with these words; killed at the end of the block."""
    command = [sys.executable, "-c", script, *map(str, words)]
    started = [subprocess.Popen(command, env=os.environ | w, **PIPES) for w in worlds(count)]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()
