"""A small file is replaced only by those who know what it holds, and by one of them at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import s3fs

from pipeline.format import store, writing
from pipeline.format.errors import HeadraceError
from tests.jobs import door


@pytest.fixture(scope="module")
def bucket():
    """An S3 server that honours conditions; its environment is this process's."""
    with door.s3() as (_, environment), pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield f"s3://{door.BUCKET}"
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(params=["disk", "s3", "memory"])
def url(request, tmp_path) -> str:
    """A file that is not there, in each kind of store."""
    if request.param == "disk":
        return f"{tmp_path}/new/LATEST"
    folder = request.getfixturevalue("bucket" if request.param == "s3" else "memory")
    return f"{folder}/{tmp_path.name}/LATEST"


def test_a_file_that_holds_what_was_expected_is_replaced(url):
    assert writing.swap(url, None, b"first")
    assert writing.swap(url, b"first", b"second")
    assert store.read_bytes(url) == b"second"


def test_a_file_that_holds_something_else_is_left_alone(url):
    assert not writing.swap(url, b"first", b"second")
    assert not store.exists(url)
    writing.publish(url, b"other")
    assert not writing.swap(url, b"first", b"second")
    assert not writing.swap(url, None, b"second")
    assert store.read_bytes(url) == b"other"


def test_a_file_is_removed_and_a_missing_one_is_no_error(url):
    writing.publish(url, b"1")
    writing.remove(url)
    assert not store.exists(url)
    writing.remove(url)


def test_a_swap_on_a_disk_leaves_nothing_beside(tmp_path):
    writing.swap(f"{tmp_path}/LATEST", None, b"first")
    writing.swap(f"{tmp_path}/LATEST", None, b"second")
    assert os.listdir(tmp_path) == ["LATEST"]


def test_what_a_killed_swapper_left_stops_nobody_and_is_swept(tmp_path):
    left = tmp_path / f".LATEST.swap{writing.PARTIAL}"
    left.touch()
    writing.sweep(str(tmp_path))
    assert not left.exists()
    left.touch()
    assert writing.swap(f"{tmp_path}/LATEST", None, b"first")


def test_a_swap_that_is_not_allowed_is_told_with_the_files_name(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HeadraceError, match=r"file/LATEST: not written: a part of the path is a"):
        writing.swap(f"{tmp_path}/file/LATEST", None, b"1")


RACER = """
import sys
from pipeline.format import writing
url, me, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(rounds):
    before = f"{number - 1}".encode() if number else None
    print("ready", flush=True)
    sys.stdin.readline()
    print(writing.swap(url, before, f"{number} {me}".encode()), flush=True)
"""


def race(url: str, rounds: int, racers: int = 2) -> None:
    """Lets processes swap at once; checks that one wins each round, and that it is there."""
    command = [sys.executable, "-c", RACER, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([*command, str(one), str(rounds)], **pipes) for one in range(racers)
    ]
    try:
        for number in range(rounds):
            for process in processes:
                assert process.stdout.readline() == "ready\n"
            for process in processes:
                process.stdin.write("\n")
                process.stdin.flush()
            won = [process.stdout.readline() == "True\n" for process in processes]
            assert won.count(True) == 1, f"round {number}: {won}"
            assert store.read_bytes(url) == f"{number} {won.index(True)}".encode()
            writing.publish(url, f"{number}".encode())
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_of_two_who_swap_at_once_on_a_disk_one_wins(tmp_path):
    race(f"{tmp_path}/LATEST", rounds=100)
    assert [path.name for path in Path(tmp_path).iterdir()] == ["LATEST"]


def test_of_two_who_swap_at_once_on_s3_one_wins(bucket):
    race(f"{bucket}/race/LATEST", rounds=12)
