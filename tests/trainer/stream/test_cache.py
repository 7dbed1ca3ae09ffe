"""A stream over a far store with a cache on this disk, as a run has it."""

import contextlib
import fcntl
import gc
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.format.errors import HeadraceError
from pipeline.format.writing import PARTIAL
from tests.trainer.conftest import write_shard
from trainer.stream.batch import Batch
from trainer.stream.config import CacheConfig, StreamConfig
from trainer.stream.describe import INDEX_ROW
from trainer.stream.stream import Stream

CONFIG = StreamConfig(batch=6, lanes=3, image_size=8, block=1)
STEPS = 8
"""Two epochs of 23 samples."""

pytestmark = pytest.mark.timeout(60)


class FarStore(MemoryFileSystem):
    """In memory, which is no disk. Notes each read of a tar or index, and where it begins."""

    protocol = "far"
    store: ClassVar[dict[str, object]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    asked: ClassVar[list[tuple[str, int]]] = []

    def cat_file(self, path, start=None, end=None, **options):
        if path.endswith((".tar", ".parquet")):
            self.asked.append((path, start))
        return super().cat_file(path, start, end, **options)


@pytest.fixture
def asked(web) -> list[tuple[str, int]]:
    """What a store was asked for that holds the snapshot `far://web`."""
    fsspec.register_implementation("far", FarStore, clobber=True)
    FarStore.store.clear()
    put(Path(web.dataset.removeprefix("file://")), "web")
    FarStore.asked.clear()
    return FarStore.asked


def put(folder: Path, name: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            FarStore().pipe(f"far://{name}/{path.relative_to(folder)}", path.read_bytes())


@pytest.fixture
def folder(tmp_path) -> Path:
    """Of the cache."""
    return tmp_path / "cache"


def cached(folder: Path | str) -> StreamConfig:
    cache = CacheConfig(folder=str(folder), max_bytes=1 << 30)
    return CONFIG.model_copy(update={"cache": cache})


def threads(name: str = "stream-") -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith(name)]


def copies(folder: Path) -> list[Path]:
    return sorted(folder.glob("shards/*.tar"))


def delivered(stream: Stream) -> tuple[list[Batch], int]:
    """The next batches, from the store and then from copies; and the digest so far."""
    batches = iter(stream)
    first = next(batches)
    for thread in threads("stream-pin"):
        thread.join()
    return [first, *itertools.islice(batches, STEPS - 1)], stream.digest


def assert_same(one: tuple[list[Batch], int], other: tuple[list[Batch], int]) -> None:
    assert one[1] == other[1]
    for a, b in zip(one[0], other[0], strict=True):
        assert torch.equal(a.images, b.images)
        assert (a.keys, a.captions) == (b.keys, b.captions)


def asked_later(stream: Stream) -> list[tuple[str, int]]:
    """What the store was asked for after all copies were there."""
    batches = iter(stream)
    next(batches)
    for thread in threads("stream-pin"):
        thread.join()
    list(itertools.islice(batches, CONFIG.read_ahead))  # these may have been read before
    FarStore.asked.clear()
    list(itertools.islice(batches, STEPS))
    return FarStore.asked


# Batches


def test_with_a_cache_batches_are_the_same_and_no_longer_read_from_the_store(web, asked, folder):
    with Stream("far://web", CONFIG) as plain:
        expected = delivered(plain)
        assert len(asked_later(plain)) > STEPS
    with Stream("far://web", cached(folder)) as stream:
        assert_same(delivered(stream), expected)
        assert asked_later(stream) == []
    assert len(copies(folder)) == len(web.shards)


def test_the_next_run_fetches_nothing(asked, folder):
    with Stream("far://web", cached(folder)) as stream:
        expected = delivered(stream)
    first = [copy.stat().st_ino for copy in copies(folder)]
    with Stream("far://web", cached(folder)) as again:
        assert_same(delivered(again), expected)
        assert asked_later(again) == []
    assert [copy.stat().st_ino for copy in copies(folder)] == first


def test_the_next_iteration_reads_from_the_copies_of_the_one_before(asked, folder):
    stream = Stream("far://web", cached(folder))
    delivered(stream)
    asked.clear()
    list(itertools.islice(stream, STEPS))
    assert asked == []


def test_tars_in_two_folders_are_fetched_and_those_of_one_name_kept_apart(
    asked, folder, pictures, tmp_path
):
    named = [f"far://tars/{name}/0.tar" for name in "ab"]
    for name, own in (("a", pictures[:5]), ("b", pictures[5:12])):
        write_shard(tmp_path / "tars" / name, "0.tar", own)
    put(tmp_path / "tars", "tars")
    plain = Stream(named, cached(folder).model_copy(update={"block": 2}))
    assert {key for batch in delivered(plain)[0] for key in batch.keys} == {
        picture.key for picture in pictures[:12]
    }
    with Stream(named, cached(folder)) as stream:
        batches, _ = delivered(stream)
        assert asked_later(stream) == []
    assert {key for batch in batches for key in batch.keys} == {
        picture.key for picture in pictures[:12]
    }
    assert len(copies(folder)) == 2


def test_a_far_tar_among_near_ones_is_fetched(asked, folder, pictures, tmp_path):
    for name, own in (("near", pictures[:5]), ("far", pictures[5:12])):
        write_shard(tmp_path / name, "0.tar", own)
    put(tmp_path / "far", "tars")
    with Stream([str(tmp_path / "near" / "0.tar"), "far://tars/0.tar"], cached(folder)) as stream:
        assert asked_later(stream) == []


def test_single_samples_of_a_far_store_without_a_cache_are_warned_of(
    asked, pictures, tmp_path, caplog, monkeypatch
):
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "indexes"))
    for name in "ab":
        write_shard(tmp_path / "tars" / name, "0.tar", pictures[:5])
    put(tmp_path / "tars", "tars")
    Stream([f"far://tars/{name}/0.tar" for name in "ab"], CONFIG)
    Stream([f"{tmp_path}/tars/{name}/0.tar" for name in "ab"], CONFIG)
    (told,) = (line for line in caplog.messages if not line.startswith("scanning"))
    assert told.startswith("far://tars/a/0.tar and 1 more: each sample is one request to the store")


# Indexes


def test_indexes_that_do_not_fit_in_memory_are_read_from_the_store_once_a_node(asked, folder):
    for fetched in (3, 0):
        with Stream("far://web", cached(folder)) as stream:
            stream._sources[0].indexes.max_bytes = 1
            asked.clear()
            delivered(stream)
        indexes = [path for path, _ in asked if path.endswith(".idx.parquet")]
        assert len(indexes) == len(set(indexes)) == fetched


def test_more_single_samples_than_indexes_can_be_held_of_are_warned_of(
    web, asked, folder, monkeypatch, caplog
):
    monkeypatch.setattr("trainer.stream.stream.MAX_BYTES", 22 * INDEX_ROW)
    Stream(web.url, CONFIG.model_copy(update={"block": 2}))
    Stream("far://web", cached(folder))  # its indexes are kept
    assert caplog.text == ""
    Stream(web.url, CONFIG)
    (told,) = caplog.messages
    assert told.startswith(f"{web.url}: with `block: 1`, indexes of 23 samples take up to")


# The folder


def test_a_folder_may_be_the_url_of_a_local_one(web, asked, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Stream("far://web", cached(f"file://{folder}")) as stream:
        delivered(stream)
    assert len(copies(folder)) == len(web.shards)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_folder_on_a_store_is_refused_by_its_field(asked):
    with pytest.raises(HeadraceError, match=r"^stream\.cache\.folder: far://cache: "):
        Stream("far://web", cached("far://cache"))


# Threads


def test_what_a_stream_will_be_is_told_without_a_thread_or_a_request(asked, folder):
    with Stream("far://web", cached(folder)) as stream:
        stream.describe()
        stream.load_state_dict(stream.state_dict())
        iter(stream)
        assert threads() == []
    assert asked == copies(folder) == []


def leave(stream: Stream) -> None:
    for _ in stream:
        assert threads("stream-pin")
        break


def close(stream: Stream) -> None:
    batches = iter(stream)
    next(batches)
    assert threads("stream-pin")
    stream.close()
    assert list(batches) == []


def leave_its_block(stream: Stream) -> None:
    with stream:
        batches = iter(stream)
        next(batches)
        assert threads("stream-pin")
    assert list(batches) == []


def fail(stream: Stream) -> None:
    with pytest.raises(ZeroDivisionError):
        for batch in stream:
            batch.step / 0


def forget_in_a_cycle(stream: Stream) -> None:
    cycle = {"batches": iter(stream)}
    cycle["itself"] = cycle
    next(cycle["batches"])
    del cycle
    gc.collect()


@pytest.mark.parametrize("way", [leave, close, leave_its_block, fail, forget_in_a_cycle])
def test_however_an_iteration_ends_the_fetching_ends_with_it(asked, folder, way):
    stream = Stream("far://web", cached(folder))
    with another_rank_at(stream, folder):
        way(stream)
        assert threads() == []


@contextlib.contextmanager
def another_rank_at(stream: Stream, folder: Path) -> Iterator[None]:
    """It fetches the first shard, and takes long: the stream's own thread waits for it."""
    name = stream._sources[0].shards.fingerprint(0)
    with (folder / "shards" / f".{name}.tar{PARTIAL}").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
