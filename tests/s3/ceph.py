"""A real S3 server on this machine: Ceph's gateway over one monitor and one store in memory."""

import contextlib
import hashlib
import os
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3

from tests.chaos.cluster import free_port
from tests.s3 import debian

PACKAGES = ["ceph-mon", "ceph-osd", "radosgw", "ceph-common"]
LIBRARIES = "usr/lib/x86_64-linux-gnu"
SECRET = "canary-5ecre7-0f-a-yellow-bird"
"""Must be found nowhere but in credentials."""
BUCKET = "bucket"


@dataclass(frozen=True)
class Server:
    """Where it answers, and its one user."""

    port: int
    key: str = "headrace-tests"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What leads a process here."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": self.endpoint,
        }

    def client(self):
        """boto3's, which nothing of ours stands before."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )

    def objects(self, prefix: str) -> dict[str, str]:
        """Path below `prefix` → digest of every object there, but those of run records."""
        client, found = self.client(), {}
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        for key in (one["Key"] for page in pages for one in page.get("Contents", [])):
            name = key.removeprefix(prefix)
            if not name.startswith("runs/"):
                data = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
                found[name] = hashlib.sha256(data).hexdigest()
        return found


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server with an empty bucket, gone with the block. Raises debian.NotToBeHad.

    Takes five seconds, and the first time on a machine ten more to fetch 66 MB.
    """
    root = debian.unpacked("ceph", PACKAGES)
    server, daemons = Server(free_port()), contextlib.ExitStack()
    environment = _environment(root, folder)
    with daemons:

        def start(*words: str) -> None:
            log = daemons.enter_context((folder / f"{words[0]}.out").open("w"))
            process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
            daemons.callback(process.wait)
            daemons.callback(process.kill)

        def call(*words: str | Path) -> None:
            done = subprocess.run(
                words, env=environment, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, f"{words[0]}: {done.stderr[-2000:]}"

        _begin(root, folder, server, start, call)
        _wait_for(server)
        server.client().create_bucket(Bucket=BUCKET)
        yield server


def _environment(root: Path, folder: Path) -> dict[str, str]:
    libraries = [root / "lib/x86_64-linux-gnu", root / LIBRARIES, root / LIBRARIES / "ceph"]
    return os.environ | {
        "PATH": f"{root / 'usr/bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "PYTHONPATH": str(root / "usr/lib/python3/dist-packages"),
        "CEPH_CONF": str(folder / "ceph.conf"),
    }


def _begin(root: Path, folder: Path, server: Server, start, call) -> None:
    """The monitor, the store, the user and the gateway, each when the one before is there."""
    cluster, store, monitor = str(uuid.uuid4()), str(uuid.uuid4()), free_port()
    (folder / "ceph.conf").write_text(
        CONF.format(
            cluster=cluster, folder=folder, libraries=root / LIBRARIES, monitor=monitor,
            endpoint=server.endpoint.removeprefix("http://"),
        )
    )  # fmt: skip
    for name in ("mon", "osd"):
        (folder / name).mkdir()
    monmap = folder / "monmap"
    call("monmaptool", "--create", "--fsid", cluster, "--addv", "a",
         f"[v1:127.0.0.1:{monitor}]", monmap)  # fmt: skip
    call("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
    start("ceph-mon", "-f", "-i", "a")
    admin = (_python(root), root / "usr/bin/ceph", "osd")
    call(*admin, "new", store)
    call(*admin, "crush", "add", "osd.0", "1", "root=default")
    call("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", store)
    start("ceph-osd", "-f", "-i", "0", "--osd-uuid", store)
    call("radosgw-admin", "user", "create", "--uid=tests", "--display-name=tests",
         f"--access-key={server.key}", f"--secret-key={SECRET}")  # fmt: skip
    start("radosgw", "-f", "-n", "client.rgw")


def _python(root: Path) -> Path:
    """Debian's, which its packages are for: fetched with them where it was missing."""
    fetched = root / "usr/bin/python3"
    return fetched if fetched.exists() else Path("/usr/bin/python3")


def _wait_for(server: Server) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), urllib.request.urlopen(server.endpoint, timeout=5):
            return
        time.sleep(0.1)
    raise AssertionError("Ceph's gateway does not start")


CONF = """
[global]
fsid = {cluster}
mon host = v1:127.0.0.1:{monitor}
mon initial members = a
public addr = 127.0.0.1
ms bind ipv6 = false
# Version 2 of its protocol asks the gateway for a key even where none is wanted.
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none

run dir = {folder}
crash dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
mon cluster log file = {folder}/cluster.log
mon data = {folder}/mon
osd data = {folder}/osd
rgw data = {folder}/rgw
plugin dir = {libraries}/ceph
erasure code dir = {libraries}/ceph/erasure-code
osd class dir = {libraries}/rados-classes

# One copy of everything, in memory.
osd objectstore = memstore
memstore device bytes = 4294967296
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
# It is told its place: the store's own word for it may come before it knows the cluster's name.
osd crush update on start = false
osd class update on start = false
mon allow pool size one = true

# Decisions of one are soon made.
paxos propose interval = 0.02
paxos min wait = 0.01
mon tick interval = 1

# The gateway makes few things of its own when it starts.
rgw frontends = beast endpoint={endpoint}
rgw gc max objs = 4
rgw lc max objs = 4
rgw usage max shards = 1
rgw reshard num logs = 1
rgw num control oids = 1
rgw data log num shards = 1
rgw md log max shards = 1
rgw objexp hints num shards = 1
rgw dynamic resharding = false
"""
