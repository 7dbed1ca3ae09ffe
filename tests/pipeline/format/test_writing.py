"""A file appears whole or not at all, whatever happens to its writer and its disk."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

from pipeline.format import store, writing
from pipeline.format.errors import HeadraceError
from tests.pipeline.format.test_store import fill


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_appears_whole_when_the_block_ends(tmp_path):
    with writing.publishing(str(tmp_path / "new" / "file")) as file:
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
        writing.publishing(str(tmp_path / "file")) as file,
    ):
        file.write(b"new")
        raise RuntimeError("mine")
    assert files_in(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_create_only_refuses_a_taken_name_and_leaves_it_alone(tmp_path):
    url = str(tmp_path / "file")
    writing.publish(url, b"first", create_only=True)
    with pytest.raises(FileExistsError):
        writing.publish(url, b"second", create_only=True)
    writing.publish(str(tmp_path / "other"), b"x")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert files_in(tmp_path) == ["file", "other"]


def test_without_create_only_the_file_is_replaced(tmp_path):
    writing.publish(str(tmp_path / "file"), b"first")
    writing.publish(str(tmp_path / "file"), b"second")
    assert (tmp_path / "file").read_bytes() == b"second"


WRITER = """
import sys, time
from pipeline.format import writing
with writing.publishing(sys.argv[1]) as file:
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
        writing.sweep(str(tmp_path))
        assert [name.split(".")[1] for name in files_in(tmp_path)] == ["living"]
    finally:
        living.kill()
        living.wait()
    writing.sweep(str(tmp_path))
    assert files_in(tmp_path) == []


def test_a_file_swept_before_its_writer_locked_it_is_begun_again(tmp_path, monkeypatch):
    made, begun = tempfile.NamedTemporaryFile, []

    def swept_once(**options):
        file = made(**options)
        if not begun:
            writing.sweep(str(tmp_path))
            assert not Path(file.name).exists()
        begun.append(file.name)
        return file

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", swept_once)
    writing.publish(str(tmp_path / "a"), b"whole")
    assert len(begun) == 2
    assert files_in(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_sweeping_touches_no_file_that_is_no_partial(tmp_path):
    fill(tmp_path, "a.partial", ".hidden", "b/c.tar")
    writing.sweep(str(tmp_path))
    assert files_in(tmp_path) == [".hidden", "a.partial", "b/c.tar"]


FULL = """
import resource, signal, sys
from pipeline.format import writing
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
writing.publish(sys.argv[1], bytes(1_000_000))
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
        writing.publish(str(tiny_disk / "a" / "file"), bytes(1_000_000))
    assert files_in(tiny_disk) == []
    writing.publish(str(tiny_disk / "a" / "file"), bytes(1000))
    assert files_in(tiny_disk) == ["a/file"]


def test_a_full_disk_while_the_last_bytes_are_flushed_leaves_nothing(tiny_disk):
    with (
        pytest.raises(HeadraceError, match="the disk is full"),
        writing.publishing(str(tiny_disk / "file")) as file,
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
    for name in ("a/b", "a/b/c"):
        with pytest.raises(HeadraceError, match=f"{name}: not written: a part of the path is a"):
            writing.publish(f"{tmp_path}/{name}", b"1", create_only=True)


READ_ONLY = """
import os, sys
from pipeline.format import writing
os.setuid(65534)
writing.publish(sys.argv[1], b"1")
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
        writing.publishing(str(tmp_path / "a")),
    ):
        raise OSError(code, os.strerror(code))
    assert files_in(tmp_path) == []


def test_many_writers_of_one_name_leave_one_whole_file(tmp_path):
    script = (
        "import sys; from pipeline.format import writing\n"
        "for _ in range(50): writing.publish(sys.argv[1], sys.argv[2].encode() * 100_000)"
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


def test_a_store_that_is_no_disk_refuses_a_taken_name(memory):
    writing.publish(f"{memory}/a", b"first", create_only=True)
    with pytest.raises(FileExistsError):
        writing.publish(f"{memory}/a", b"second", create_only=True)
    assert store.read_bytes(f"{memory}/a") == b"first"


def test_a_failed_block_publishes_nothing_to_a_store_that_is_no_disk(memory):
    writing.publish(f"{memory}/old", b"")
    with pytest.raises(RuntimeError, match="mine"), writing.publishing(f"{memory}/a") as file:
        file.write(b"half")
        raise RuntimeError("mine")
    assert store.names(memory) == {"old"}
