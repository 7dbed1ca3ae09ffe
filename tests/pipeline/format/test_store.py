"""Files by URL: what a pattern names, and that a file appears whole or never."""

import asyncio
import errno
import gc
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import aiohttp
import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.format import store
from pipeline.format.errors import HeadraceError


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def expanded(folder: Path, pattern: str) -> list[str]:
    return [url.removeprefix(f"file://{folder}/") for url in store.expand(f"{folder}/{pattern}")]


# What a pattern names


def test_a_range_keeps_its_zero_padding(tmp_path):
    assert expanded(tmp_path, "{008..011}.tar") == ["008.tar", "009.tar", "010.tar", "011.tar"]
    assert expanded(tmp_path, "{8..11}.tar") == ["8.tar", "9.tar", "10.tar", "11.tar"]


def test_two_ranges_give_every_pair_the_first_slowest(tmp_path):
    assert expanded(tmp_path, "{0..1}/{1..2}") == ["0/1", "0/2", "1/1", "1/2"]


def test_a_range_of_one_is_one_name(tmp_path):
    assert expanded(tmp_path, "{7..7}.tar") == ["7.tar"]


def test_a_backward_range_is_refused_with_its_text(tmp_path):
    with pytest.raises(HeadraceError, match=r"\{5\.\.3\} runs backwards"):
        store.expand(f"{tmp_path}/{{5..3}}.tar")


def test_braces_that_are_no_range_are_part_of_the_name(tmp_path):
    assert expanded(tmp_path, "{a,b}.tar") == ["{a,b}.tar"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.tar", ["0.tar", "1.tar", "10.tar"]),
        ("?.tar", ["0.tar", "1.tar"]),
        ("[1-9].tar", ["1.tar"]),
        ("**/*.tar", ["0.tar", "1.tar", "10.tar", "deep/2.tar"]),
        ("{0..1}*.tar", ["0.tar", "1.tar", "10.tar"]),
    ],
)
def test_globs_give_what_is_there_in_name_order(tmp_path, pattern, found):
    fill(tmp_path, "10.tar", "1.tar", "0.tar", "0.json", "deep/2.tar")
    assert expanded(tmp_path, pattern) == found


def test_what_a_glob_found_can_be_read(tmp_path):
    fill(tmp_path, "00.tar")
    assert store.read_bytes(store.expand(f"{tmp_path}/0?.tar")[0]) == b"00.tar"


def test_a_glob_that_finds_nothing_is_refused_with_the_pattern(tmp_path):
    with pytest.raises(HeadraceError, match=r"\*\.tar: no file matches; check"):
        store.expand(f"{tmp_path}/*.tar")


def test_a_hole_in_a_range_is_an_error_that_names_the_missing_file(tmp_path):
    fill(tmp_path, "0.tar", "2.tar")
    with pytest.raises(HeadraceError, match=r"/1\.tar: no such file"):
        [store.stat(url) for url in store.expand(f"{tmp_path}/{{0..2}}.tar")]


# URLs


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("/a/b", "file:///a/b"),
        ("/a/b/", "file:///a/b"),
        ("/a/../b", "file:///b"),
        ("file:///a/b/", "file:///a/b"),
        ("s3://bucket/a/", "s3://bucket/a"),
        ("memory:///a", "memory:///a"),
        ("hdfs:///user/a.tar", "hdfs:///user/a.tar"),
        ("https://host:8080/a.tar", "https://host:8080/a.tar"),
        ("hf://datasets/org/name@main/0.tar", "hf://datasets/org/name@main/0.tar"),
        ("s3://bucket/shard-?.tar", "s3://bucket/shard-?.tar"),
    ],
)
def test_a_url_has_one_form(given, canonical):
    assert store.absolute(given) == canonical
    assert store.absolute(canonical) == canonical


def test_a_relative_path_and_a_home_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert store.absolute("pool") == f"file://{tmp_path}/pool"
    assert store.absolute("~/pool") == "file:///home/someone/pool"


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAKEY:hunter2@bucket/a.tar",
        "https://user:hunter2@host/a.tar",
        "https://user:hun@hunter2@host/a.tar",
        "https://host/a.tar?X-Amz-Credential=AKIAKEY&X-Amz-Signature=hunter2",
        "simplecache::https://user:hunter2@host/a.tar",
    ],
)
@pytest.mark.parametrize("use", [store.absolute, store.expand, store.read_bytes, store.sweep])
def test_a_url_with_credentials_is_refused_and_never_repeated(url, use):
    with pytest.raises(HeadraceError, match="carries credentials; put them in the env") as caught:
        use(url)
    assert "hunter2" not in str(caught.value)
    assert "AKIAKEY" not in str(caught.value)
    assert "a.tar" in str(caught.value)


@pytest.mark.parametrize("name", ["c#/1.png", "what?.png", "a=b?c=d.png", "50% @home.png", "é ü"])
def test_odd_names_of_local_files_are_found_read_and_written(tmp_path, name):
    store.publish(f"{tmp_path}/{name}", b"1")
    assert [stat.url for stat in store.find(str(tmp_path))] == [f"file://{tmp_path}/{name}"]
    assert store.read_bytes(f"file://{tmp_path}/{name}") == b"1"


def test_an_unknown_kind_of_store_is_named():
    with pytest.raises(HeadraceError, match=r"zzz://x/y: no such kind of store"):
        store.read_bytes("zzz://x/y")


# Reading


def test_ranges_are_read_as_asked(tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(100)))
    url = str(tmp_path / "file")
    assert store.read_bytes(url) == bytes(range(100))
    assert store.read_bytes(url, 10, 13) == bytes([10, 11, 12])
    assert store.read_bytes(url, 98, 200) == bytes([98, 99])
    assert store.read_bytes(url, 5, 5) == b""


def opened(url: str) -> bytes:
    with store.open_read(url) as file:
        return file.read()


@pytest.mark.parametrize("use", [store.read_bytes, opened, store.stat])
def test_a_missing_file_is_named(tmp_path, use):
    with pytest.raises(HeadraceError, match=r"nowhere\.tar: no such file; check the path"):
        use(str(tmp_path / "nowhere.tar"))


def test_a_missing_folder_is_named_and_has_no_names(tmp_path):
    with pytest.raises(HeadraceError, match=r"nowhere: no such folder; check the path"):
        store.find(str(tmp_path / "nowhere"))
    assert store.names(str(tmp_path / "nowhere")) == set()


def test_a_folder_in_place_of_a_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(HeadraceError, match=f"{tmp_path.name}: the store cannot be read"):
        store.read_bytes(str(tmp_path))


def test_the_version_of_a_file_changes_with_it(tmp_path):
    url, path = f"file://{tmp_path}/a", tmp_path / "a"
    path.write_bytes(b"1")
    os.utime(path, (1, 1))
    before = store.stat(url)
    assert before == store.stat(url) == store.Stat(url, 1, before.etag)
    os.utime(path, (2, 2))
    assert store.stat(url).etag != before.etag


# Another store than local disk


@pytest.fixture
def memory():
    """A store in this process, empty before and after."""
    url = f"memory:///{uuid.uuid4().hex}"
    yield url
    fsspec.filesystem("memory").rm(url.removeprefix("memory://"), recursive=True)


def test_a_store_that_is_no_disk_publishes_lists_and_reads(memory):
    store.publish(f"{memory}/b/2", b"0123456789")
    store.publish(f"{memory}/b/1", b"1")
    store.publish(f"{memory}/c", b"")
    assert store.read_bytes(f"{memory}/b/2", 3, 5) == b"34"
    assert opened(f"{memory}/b/1") == b"1"
    assert store.stat(f"{memory}/b/2").nbytes == 10
    assert store.exists(f"{memory}/c")
    assert not store.exists(f"{memory}/d")
    assert store.names(f"{memory}/b") == {"1", "2"}
    assert [stat.url for stat in store.find(memory)] == [
        f"{memory}/b/1",
        f"{memory}/b/2",
        f"{memory}/c",
    ]
    assert store.expand(f"{memory}/b/*") == [f"{memory}/b/1", f"{memory}/b/2"]
    store.sweep(memory)


def test_a_store_that_is_no_disk_refuses_a_taken_name(memory):
    store.publish(f"{memory}/a", b"first", create_only=True)
    with pytest.raises(FileExistsError):
        store.publish(f"{memory}/a", b"second", create_only=True)
    assert store.read_bytes(f"{memory}/a") == b"first"


def test_a_failed_block_publishes_nothing_to_a_store_that_is_no_disk(memory):
    store.publish(f"{memory}/old", b"")
    with pytest.raises(RuntimeError, match="mine"), store.publishing(f"{memory}/a") as file:
        file.write(b"half")
        raise RuntimeError("mine")
    assert store.names(memory) == {"old"}


class ClientError(Exception):
    """As botocore's: no subclass of anything but Exception."""


ClientError.__module__ = "botocore.exceptions"


class UnreachableStore(MemoryFileSystem):
    """A store whose client library fails with errors of its own."""

    protocol = "unreachable"

    def info(self, *args, **options):
        raise ClientError("Could not connect to the endpoint URL")

    put_file = cat_file = info


def test_an_unreachable_store_is_one_line_that_names_the_url():
    fsspec.register_implementation("unreachable", UnreachableStore, clobber=True)
    with pytest.raises(HeadraceError, match=r"unreachable://b/a: the store cannot be read: Could"):
        store.read_bytes("unreachable://b/a")
    with pytest.raises(HeadraceError, match=r"unreachable://b/a: not written: Could not connect"):
        store.publish("unreachable://b/a", b"1")


def test_a_store_that_fails_while_a_file_is_read_is_one_line_too(memory):
    store.publish(f"{memory}/a", b"1")
    with (
        pytest.raises(HeadraceError, match=r"/a: the store cannot be read: endpoint is away"),
        store.open_read(f"{memory}/a"),
    ):
        raise ClientError("endpoint is away")


def unawaited(error: Exception, message: str | None = None) -> None:
    """Ends a task in the thread of fsspec's stores with an error that nobody asks for."""

    async def fail() -> None:
        raise error

    async def begin() -> None:
        loop = asyncio.get_running_loop()
        if message:
            loop.call_exception_handler({"message": message, "exception": error})
        else:
            await asyncio.wait([loop.create_task(fail())])  # asks for no result

    async def collect() -> None:
        gc.collect()

    fsspec.asyn.sync(fsspec.asyn.get_loop(), begin)
    fsspec.asyn.sync(fsspec.asyn.get_loop(), collect)


@pytest.mark.parametrize("url", ["s3://bucket/key", "http://127.0.0.1:9/key"])
def test_what_a_store_raises_beside_the_error_that_is_told_is_passed_over(url, caplog):
    store.filesystem(url)
    unawaited(aiohttp.ClientConnectionResetError("Cannot write to closing transport"))
    unawaited(ConnectionResetError("Connection lost"))
    unawaited(ClientError("Could not connect to the endpoint URL"))
    assert not caplog.records
    unawaited(ValueError("of ours"))
    unawaited(aiohttp.ClientError("of a callback"), "Exception in callback")
    told = [(record.name, record.message.splitlines()[0]) for record in caplog.records]
    assert told == [
        ("asyncio", "Task exception was never retrieved"),
        ("asyncio", "Exception in callback"),
    ]


# Publishing


def test_a_file_appears_whole_when_the_block_ends(tmp_path):
    with store.publishing(str(tmp_path / "new" / "file")) as file:
        file.write(b"all")
        file.flush()
        assert not (tmp_path / "new" / "file").exists()
    assert (tmp_path / "new" / "file").read_bytes() == b"all"
    assert files_in(tmp_path) == ["new/file"]
    assert (tmp_path / "new" / "file").stat().st_mode & 0o777 == 0o644


def test_a_failed_block_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with (
        pytest.raises(RuntimeError, match="mine"),
        store.publishing(str(tmp_path / "file")) as file,
    ):
        file.write(b"new")
        raise RuntimeError("mine")
    assert files_in(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_create_only_refuses_a_taken_name_and_leaves_it_alone(tmp_path):
    url = str(tmp_path / "file")
    store.publish(url, b"first", create_only=True)
    with pytest.raises(FileExistsError):
        store.publish(url, b"second", create_only=True)
    store.publish(str(tmp_path / "other"), b"x")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert files_in(tmp_path) == ["file", "other"]


def test_without_create_only_the_file_is_replaced(tmp_path):
    store.publish(str(tmp_path / "file"), b"first")
    store.publish(str(tmp_path / "file"), b"second")
    assert (tmp_path / "file").read_bytes() == b"second"


WRITER = """
import sys, time
from pipeline.format import store
with store.publishing(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


def start_writer(path: Path) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    return process


def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_holds_stays(tmp_path):
    killed, living = start_writer(tmp_path / "a" / "killed"), start_writer(tmp_path / "living")
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        left = files_in(tmp_path)
        assert len(left) == 2
        assert all(name.endswith(".partial") for name in left)
        store.sweep(str(tmp_path))
        assert [name.split(".")[1] for name in files_in(tmp_path)] == ["living"]
    finally:
        living.kill()
        living.wait()
    store.sweep(str(tmp_path))
    assert files_in(tmp_path) == []


def test_sweeping_touches_no_file_that_is_no_partial(tmp_path):
    fill(tmp_path, "a.partial", ".hidden", "b/c.tar")
    store.sweep(str(tmp_path))
    assert files_in(tmp_path) == [".hidden", "a.partial", "b/c.tar"]


FULL = """
import resource, signal, sys
from pipeline.format import store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store.publish(sys.argv[1], bytes(1_000_000))
"""


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 64 kB, where this test may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small disk is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_told_with_its_fix_and_leaves_nothing(tiny_disk):
    with pytest.raises(HeadraceError, match=r"disk/a/file: not written: the disk is full; free"):
        store.publish(str(tiny_disk / "a" / "file"), bytes(1_000_000))
    assert files_in(tiny_disk) == []
    store.publish(str(tiny_disk / "a" / "file"), bytes(1000))
    assert files_in(tiny_disk) == ["a/file"]


def test_a_full_disk_while_the_last_bytes_are_flushed_leaves_nothing(tiny_disk):
    with (
        pytest.raises(HeadraceError, match="the disk is full"),
        store.publishing(str(tiny_disk / "file")) as file,
    ):
        (tiny_disk / "other").write_bytes(bytes(15 * 4096))
        file.write(bytes(5000))  # stays in the buffer until the block ends
    assert files_in(tiny_disk) == ["other"]


def test_a_file_over_the_size_limit_is_told_and_leaves_nothing(tmp_path):
    command = [sys.executable, "-c", FULL, tmp_path / "file"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert f"HeadraceError: {tmp_path}/file: not written: File too large" in done.stderr
    assert files_in(tmp_path) == []


def test_a_file_in_place_of_a_folder_is_told_with_its_fix(tmp_path):
    fill(tmp_path, "a")
    with pytest.raises(HeadraceError, match=r"a/b/c: not written: a part of the path is a file"):
        store.publish(str(tmp_path / "a" / "b" / "c"), b"1")


READ_ONLY = """
import os, sys
from pipeline.format import store
os.setuid(65534)
store.publish(sys.argv[1], b"1")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_folder_of_somebody_else_is_told_with_its_fix():
    folder = Path("/tmp") / f"headrace-{uuid.uuid4().hex}"  # where everyone may look
    folder.mkdir(mode=0o755)
    try:
        command = [sys.executable, "-c", READ_ONLY, folder / "file"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert "not written: writing is not allowed; check the owner and mode" in done.stderr
        assert f"{folder}/file" in done.stderr
        assert files_in(folder) == []
    finally:
        folder.rmdir()


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (errno.EDQUOT, "the quota is used up; free some space"),
        (errno.EROFS, "the store is read-only; write somewhere else"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_a_disk_refuses_is_told_in_words(tmp_path, code, fix):
    with (
        pytest.raises(HeadraceError, match=f"/a: not written: {fix}"),
        store.publishing(str(tmp_path / "a")),
    ):
        raise OSError(code, os.strerror(code))
    assert files_in(tmp_path) == []


def test_many_writers_of_one_name_leave_one_whole_file(tmp_path):
    script = (
        "import sys; from pipeline.format import store\n"
        "for _ in range(50): store.publish(sys.argv[1], sys.argv[2].encode() * 100_000)"
    )
    url = str(tmp_path / "file")
    writers = [subprocess.Popen([sys.executable, "-c", script, url, sign]) for sign in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if store.exists(url):
            seen.add(store.read_bytes(url))
        time.sleep(0.002)
    assert [writer.returncode for writer in writers] == [0, 0]
    seen.add(store.read_bytes(url))
    assert seen <= {b"a" * 100_000, b"b" * 100_000}
    assert files_in(tmp_path) == ["file"]
