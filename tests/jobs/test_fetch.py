"""`headrace fetch` on Ray: shards side by side, resumed by running it again."""

import contextlib
import hashlib
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from jobs import cluster, fetch
from pipeline.fetch.plan import Totals
from pipeline.format.errors import HeadraceError
from pipeline.pool import webdataset as pool
from tests.pipeline import dying
from tests.pipeline.fetch.fetching import config, listed, sidecar
from tests.pipeline.fetch.server import Web, http, image, sends, then


@pytest.fixture(scope="module", autouse=True)
def session():
    """One Ray for all tests here."""
    with cluster.session(2):
        yield


@pytest.fixture
def web():
    with Web() as web:
        yield web


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file of the pool but the stats, which hold times."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "pool").iterdir())
        if path.is_file() and not path.name.endswith("_stats.json")
    }


def test_a_list_becomes_a_pool_and_what_failed_comes_on_request(web, tmp_path, capsys):
    fail = sends(http(b"", status="404 Not Found"))
    web.routes |= {"/late/": fail, "/image": web.routes["/slow-image"]}
    paths = [f"/image/{n}" for n in range(12)]
    paths[2], paths[7], paths[8] = "/late/", "/page", "/closes"
    listed(tmp_path, [web.url(path) for path in paths])
    checked = config(tmp_path, shards={"rows": 6}, polite={"at_once": 3})

    fetch.dry_run(checked)
    assert "2 shards to do" in capsys.readouterr().err
    assert not (tmp_path / "pool").exists()

    failed = {"http_404": 1, "not_an_image": 1, "connection_failed": 1}
    assert fetch.run(checked) == Totals(12, 9, failed, 0)
    assert 1 < web.peak <= 3  # of both tasks together
    tars = pool.parts(str(tmp_path / "pool" / "*.tar"))
    images = [image for part in tars for image in pool.read(part, 10**9)]
    assert [image.caption for image in images] == [
        f"picture {n}" for n in range(12) if n not in (2, 7, 8)
    ]
    first = contents(tmp_path)

    (tmp_path / "pool" / "00000001_stats.json").unlink()
    asked = web.asked("/image/0"), web.asked("/image/6")
    fetch.run(checked)
    assert (web.asked("/image/0"), web.asked("/image/6")) == (asked[0], asked[1] + 1)
    assert contents(tmp_path) == first

    web.routes["/late/"] = image
    fetch.dry_run(checked, retry_failed=True)
    assert "failed rows of 00000001" in capsys.readouterr().err
    asked = len(web.requests)
    assert fetch.run(checked, retry_failed=True) == Totals(
        12, 10, {"not_an_image": 1, "connection_failed": 1}, 0
    )
    assert len(web.requests) == asked + 4  # a broken connection is tried again
    assert [row["retry_of"] for row in sidecar(tmp_path, 3)] == ["000000010001", "000000010002"]
    assert {name: contents(tmp_path)[name] for name in first} == first
    assert fetch.run(checked) == fetch.run(checked)  # nothing is left to do


def test_a_shard_that_cannot_be_written_is_named_and_the_others_are_done(web, tmp_path):
    listed(tmp_path, [web.url(f"/image/{n}") for n in range(6)])
    checked = config(tmp_path, shards={"rows": 2})
    (tmp_path / "pool" / "00000001.parquet").mkdir(parents=True)
    with pytest.raises(HeadraceError) as caught:
        fetch.run(checked)
    assert "shard 00000001: " in str(caught.value)
    assert "shard 00000000" not in str(caught.value)
    done = {path.name for path in (tmp_path / "pool").glob("*_stats.json")}
    assert done == {"00000000_stats.json", "00000002_stats.json"}
    (tmp_path / "pool" / "00000001.parquet").rmdir()
    assert fetch.run(checked).ok == 6


def owner(address: tuple[str, int]) -> int:
    """The process that holds the socket with this IPv4 address, by what Linux tells."""
    packed = int.from_bytes(socket.inet_aton(address[0]), sys.byteorder)
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    [inode] = [line[9] for line in lines if line[1] == f"{packed:08X}:{address[1]:04X}"]
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(link) == f"socket:[{inode}]":
                return int(link.parts[2])
    raise LookupError(address)


@pytest.mark.slow
def test_a_task_that_is_killed_runs_again_and_one_that_always_dies_is_named(web, tmp_path):
    """The server kills whoever asks for a fatal picture: once, or every time."""
    killed = []

    async def kill(request, writer):
        killed.append(request.path)
        os.kill(owner(writer.get_extra_info("peername")), signal.SIGKILL)

    web.routes |= {"/once/": then(kill, image), "/always/": kill}
    listed(tmp_path, [web.url(path) for path in ("/image/1", "/once/", "/image/3", "/always/")])
    checked = config(tmp_path, shards={"rows": 2})
    with pytest.raises(HeadraceError, match=r"shard 00000001: .* died"):
        fetch.run(checked)
    assert killed.count("/once/") == 1
    done = {path.name for path in (tmp_path / "pool").glob("*.json")}
    assert done == {"00000000_stats.json", "fetch.json"}
    web.routes["/always/"] = image
    assert fetch.run(checked) == Totals(4, 4, {}, 0)


@pytest.mark.slow
def test_an_image_that_kills_its_decoder_is_a_row_and_the_command_ends_well(
    web, tmp_path, headrace
):
    web.routes["/deadly"] = sends(http(dying.image("SIGSEGV")))
    paths = ["/image/0", "/deadly", "/image/2", "/image/3"]
    listed(tmp_path, [web.url(path) for path in paths])
    file = tmp_path / "fetch.yaml"
    file.write_text(config(tmp_path, shards={"rows": 2}).model_dump_json())
    process = headrace.start("fetch", file, "--workers", "1", env=dying.environment())
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert [line.split()[:2] for line in out.splitlines()[:3]] == [
        ["ok", "3"],
        ["decoder_died", "1"],
        ["rows", "4"],
    ]
    assert [row["error_message"] for row in sidecar(tmp_path, 0)] == [
        None,
        "decoder_died: signal SIGSEGV",
    ]
    assert [row["status"] for row in sidecar(tmp_path, 1)] == ["success"] * 2
    assert [web.asked(path) for path in paths] == [1] * 4
