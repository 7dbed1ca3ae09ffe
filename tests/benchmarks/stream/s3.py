"""An S3 server on this machine, for the part that reads from one."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "bench"
URL = f"s3://{BUCKET}"
KEYS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def serving() -> Iterator[None]:
    """Runs it in a thread, with an empty bucket. The environment of this process, and of those
    that it starts, leads there."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells of every request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    there = "http://{}:{}".format(*server.get_host_and_port())
    try:
        # MosaicML has a name of its own for it.
        ways = {"AWS_ENDPOINT_URL": there, "S3_ENDPOINT_URL": there}
        with patch.dict(os.environ, KEYS | ways):
            boto3.client("s3").create_bucket(Bucket=BUCKET)
            yield
    finally:
        server.stop()


def upload(folder: Path) -> None:
    """The files in a folder, below its name."""
    client = boto3.client("s3")
    for path in folder.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), BUCKET, path.relative_to(folder.parent).as_posix())
