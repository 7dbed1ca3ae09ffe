"""An S3 server on this machine, and a door before it that a test can shut."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import boto3

from tests.chaos.cluster import free_port

BUCKET = "bucket"


class Door:
    """A port that leads to another one while it is open; shut, it refuses everybody."""

    def __init__(self, behind: int) -> None:
        self.behind, self.port, self.open = behind, free_port(), True
        self.lines: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._listen, daemon=True).start()

    def shut(self) -> None:
        """Ends every connection, in mid-sentence where need be."""
        self.open = False
        for line in self.lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def unlock(self) -> None:
        """Lets people in again."""
        self.open = True

    def _listen(self) -> None:
        while True:
            line, _ = self.listener.accept()
            if not self.open:
                line.close()
                continue
            server = socket.create_connection(("127.0.0.1", self.behind))
            self.lines += [line, server]
            for ends in ((line, server), (server, line)):
                threading.Thread(target=_carry, args=ends, daemon=True).start()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for line in (source, target):
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


@contextmanager
def s3() -> Iterator[tuple[Door, dict[str, str]]]:
    """A running server with an empty bucket: its door, and the environment that leads there."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        door = Door(port)
        client(port).create_bucket(Bucket=BUCKET)
        yield door, {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{door.port}"}
    finally:
        process.kill()
        process.wait()


KEYS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
    "HEADRACE_STORE_DEADLINE": "5",
}


def client(port: int):
    """An S3 client that goes round the door."""
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        region_name=KEYS["AWS_DEFAULT_REGION"],
    )


def names(door: Door) -> list[str]:
    """What the bucket holds."""
    pages = client(door.behind).get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return [one["Key"] for page in pages for one in page.get("Contents", [])]


def objects(door: Door) -> dict[str, bytes]:
    """Everything in the bucket."""
    s3 = client(door.behind)
    return {name: s3.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in names(door)}


def _wait_for(port: int) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise AssertionError("the S3 server does not start")
