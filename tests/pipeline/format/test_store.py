"""Files by URL: what a pattern names, and what is read of them."""

import asyncio
import gc
import os
from pathlib import Path

import aiohttp
import fsspec
import pytest
import yarl
from botocore.exceptions import NoCredentialsError
from fsspec.implementations.memory import MemoryFileSystem
from multidict import CIMultiDict, CIMultiDictProxy

from pipeline.format import sending, store, writing
from pipeline.format.errors import HeadraceError, Unavailable
from pipeline.format.patience import Patience
from tests.pipeline.format import scripted


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


@pytest.mark.parametrize("name", ["c#/1.png", "what?.png", "a=b?c=d.png", "50% @home.png", "é ü"])
def test_odd_names_of_local_files_are_found_read_and_written(tmp_path, name):
    writing.publish(f"{tmp_path}/{name}", b"1")
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
    with pytest.raises(HeadraceError, match=r"nowhere\.tar: no such file; check") as caught:
        use(str(tmp_path / "nowhere.tar"))
    assert not isinstance(caught.value, Unavailable), "trying again would not help"


def test_a_missing_folder_is_named_and_has_no_names(tmp_path):
    with pytest.raises(HeadraceError, match=r"nowhere: no such folder; check the path"):
        store.find(str(tmp_path / "nowhere"))
    assert store.names(str(tmp_path / "nowhere")) == set()


def test_a_folder_in_place_of_a_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(HeadraceError, match=f"{tmp_path.name}: the store cannot be read") as caught:
        store.read_bytes(str(tmp_path))
    assert not isinstance(caught.value, Unavailable), "trying again would not help"


def test_the_version_of_a_file_changes_with_it(tmp_path):
    url, path = f"file://{tmp_path}/a", tmp_path / "a"
    path.write_bytes(b"1")
    os.utime(path, (1, 1))
    before = store.stat(url)
    assert before == store.stat(url) == store.Stat(url, 1, before.etag)
    os.utime(path, (2, 2))
    assert store.stat(url).etag != before.etag


# Another store than local disk


def test_a_store_that_is_no_disk_publishes_lists_and_reads(memory):
    writing.publish(f"{memory}/b/2", b"0123456789")
    writing.publish(f"{memory}/b/1", b"1")
    writing.publish(f"{memory}/c", b"")
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
    writing.sweep(memory)


class ClientError(Exception):
    """As botocore's: no subclass of anything but Exception."""


ClientError.__module__ = "botocore.exceptions"


class UnreachableStore(MemoryFileSystem):
    """A store whose client library fails with errors of its own."""

    protocol = "unreachable"

    def info(self, *args, **options):
        raise ClientError("Could not connect to the endpoint URL")

    put_file = cat_file = info


def test_an_unreachable_store_is_one_line_that_names_the_url(monkeypatch):
    monkeypatch.setattr(sending, "patience", lambda: Patience(0.01, 0.01, 0.01, stall=0.1))
    fsspec.register_implementation("unreachable", UnreachableStore, clobber=True)
    with pytest.raises(Unavailable, match=r"unreachable://b/a: the store cannot be read: Could"):
        store.read_bytes("unreachable://b/a")
    with pytest.raises(HeadraceError, match=r"^unreachable://b/a: .* not written: Could not con"):
        writing.publish("unreachable://b/a", b"1")


def refused(status: int) -> aiohttp.ClientResponseError:
    url = yarl.URL("https://host/a")
    info = aiohttp.RequestInfo(url, "GET", CIMultiDictProxy(CIMultiDict()), url)
    return aiohttp.ClientResponseError(info, (), status=status)


@pytest.mark.parametrize("error", [NoCredentialsError(), refused(401), refused(403)])
def test_missing_credentials_are_told_as_what_they_are(error):
    with (
        pytest.raises(HeadraceError, match="/a: reading is not allowed; check the cred") as caught,
        store.reading("https://host/a"),
    ):
        raise error
    assert not isinstance(caught.value, Unavailable), "trying again would not help"


def test_a_web_server_that_is_overloaded_is_worth_another_try():
    with pytest.raises(Unavailable), store.reading("https://host/a"):
        raise refused(503)


def test_a_store_that_does_not_answer_in_time_is_unavailable():
    fake = scripted.empty()
    fake.files["a"] = b"1"
    fake.script = [60.0]
    with pytest.raises(Unavailable, match="scripted://a: the store cannot be read: no answer in"):
        store.read_bytes("scripted://a", timeout=0.05)
    assert store.read_bytes("scripted://a", timeout=0.05) == b"1"
    assert store.stat("scripted://a", timeout=0.05).nbytes == 1


def test_a_store_is_given_the_time_it_takes_if_nobody_says_how_long():
    fake = scripted.empty()
    fake.files["a"] = b"1"
    fake.script, fake.pauses = [0.1], [0.1]
    assert store.stat("scripted://a").nbytes == 1
    assert store.read_bytes("scripted://a") == b"1"


def test_only_disks_are_local(tmp_path):
    assert store.is_local(str(tmp_path))
    assert store.is_local(f"file://{tmp_path}/a.tar")
    assert not store.is_local("memory:///a")
    assert not store.is_local("https://host/a.tar")


def test_a_store_that_fails_while_a_file_is_read_is_one_line_too(memory):
    writing.publish(f"{memory}/a", b"1")
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
