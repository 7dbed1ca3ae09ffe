"""Shards on a node's disk: fetched once, bounded, safe under kills, and never wrong."""

import dataclasses
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.format import store, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.shards import ShardSet
from tests.pipeline.format import scripted
from tests.trainer.stream import pinning
from trainer.stream import pinned
from trainer.stream.pinned import Pinned

SOON = 2
"""Seconds."""

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def asked(tmp_path, monkeypatch) -> Path:
    """What the store was asked for, a line a read."""
    log = tmp_path / "asked"
    log.touch()
    monkeypatch.setenv("COUNTING_LOG", str(log))
    monkeypatch.setattr("trainer.stream.pinned.PIECE", pinning.PIECE)
    return log


@pytest.fixture
def shards(web) -> ShardSet:
    """Three shards on a store that is no local disk."""
    return pinning.counted(web.url)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Of the copies."""
    return tmp_path / "cache"


def filled(folder: Path | str, *wanted: ShardSet, max_bytes: int = 1 << 30) -> Pinned:
    """A cache that has seen to all shards."""
    pins = Pinned(str(folder), max_bytes)
    for shards in wanted:
        pins.want(shards)
    pinning.wait_for(pins)
    return pins


def all_bytes(pins: Pinned, shards: ShardSet) -> list[bytes | None]:
    return [pins.read(shards, n, 0, int(shards.nbytes[n])) for n in range(len(shards.paths))]


def truth(shards: ShardSet) -> list[bytes]:
    paths = [shards.url(n).removeprefix("counting://") for n in range(len(shards.paths))]
    return [Path(path).read_bytes() for path in paths]


def fetches(asked: Path) -> list[str]:
    """The shards whose first byte was asked for."""
    return [line.split()[0] for line in asked.read_text().splitlines() if line.endswith(" 0")]


def copies(folder: Path) -> list[Path]:
    return sorted((folder / "shards").glob("*.tar"))


def leftovers(folder: Path) -> list[Path]:
    return list((folder / "shards").glob(f".*{writing.PARTIAL}"))


def start(shards: ShardSet, folder: Path, max_bytes: int, delay: float = 0.0) -> subprocess.Popen:
    """Another process that pins the set."""
    url = shards.label.replace("counting://", "file://")
    command = [sys.executable, "-m", "tests.trainer.stream.pinning", url, folder, str(max_bytes)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"COUNTING_DELAY": str(delay)}
    )


# Reading


def test_a_pinned_set_gives_the_bytes_of_its_store_without_asking_it_again(shards, folder, asked):
    pins = filled(folder, shards)
    before = asked.read_text()
    assert all_bytes(pins, shards) == truth(shards)
    assert pins.read(shards, 1, 600, 700) == truth(shards)[1][600:700]
    assert asked.read_text() == before
    assert len(before.splitlines()) > 2 * len(shards.paths), "each in several pieces"


def test_what_is_not_here_yet_is_none_and_waits_for_nobody(shards, folder):
    assert all_bytes(Pinned(str(folder), 1 << 30), shards) == [None] * 3


def test_a_copy_that_is_removed_under_its_reader_is_none(shards, folder):
    pins = filled(folder, shards)
    for copy in copies(folder):
        copy.unlink()
    assert all_bytes(pins, shards) == [None] * 3


def test_a_range_behind_the_end_is_left_to_the_store(shards, folder):
    nbytes = int(shards.nbytes[0])
    assert filled(folder, shards).read(shards, 0, nbytes - 10, nbytes + 10) is None


def test_equal_names_in_two_places_never_mix_up(tmp_path, make_snapshot, pictures, folder):
    one = pinning.counted(make_snapshot(tmp_path / "one", pictures[:4], [4]).url)
    other = pinning.counted(make_snapshot(tmp_path / "other", pictures[4:8], [4]).url)
    same_name = {Path(shards.paths[0]).name for shards in (one, other)}
    assert len(same_name) == 1
    pins = filled(folder, one, other)
    assert all_bytes(pins, one) == truth(one)
    assert all_bytes(pins, other) == truth(other)


# Room


def test_a_set_larger_than_the_bound_is_refused_before_any_work(shards, folder, asked):
    total = int(shards.nbytes.sum())
    with pytest.raises(HeadraceError, match=f"max_bytes: {total - 1} bytes cannot hold "):
        Pinned(str(folder), total - 1).want(shards)
    assert asked.read_text() == ""
    assert all_bytes(filled(folder, shards, max_bytes=total), shards) == truth(shards)


def test_two_sets_must_fit_together(shards, trusted, folder):
    other = pinning.counted(trusted.url)
    pins = Pinned(str(folder), int(shards.nbytes.sum() + other.nbytes.sum()) - 1)
    pins.want(shards)
    with pytest.raises(HeadraceError, match=f"cannot hold {other.label}"):
        pins.want(other)
    pins.want(shards)  # is not counted twice
    pinning.wait_for(pins)
    assert all_bytes(pins, shards) == truth(shards)


def test_room_is_made_of_the_copies_that_were_not_used_for_longest(shards, trusted, folder):
    other = pinning.counted(trusted.url)
    first = filled(folder, shards)
    for age, copy in enumerate(copies(folder)):
        os.utime(copy, (age, age))
    oldest, *newer = copies(folder)
    room = int(shards.nbytes.sum() + other.nbytes.sum()) - 1
    second = filled(folder, other, max_bytes=room)
    assert all_bytes(second, other) == truth(other)
    assert not oldest.exists()
    assert all(copy.exists() for copy in newer)
    assert all_bytes(first, shards).count(None) == 1


def test_a_copy_that_is_read_is_given_up_after_those_that_are_not(
    shards, trusted, folder, monkeypatch
):
    """And what was checked when stays as it was."""
    monkeypatch.setattr(pinned, "MARK", 0)
    other = pinning.counted(trusted.url)
    first = filled(folder, shards)
    hour = time.time() - 3600
    for copy in copies(folder):
        os.utime(copy, (hour, hour - 10))  # most systems leave these alone at a read
    read = folder / "shards" / f"{shards.fingerprint(1)}.tar"
    os.utime(read, (hour, hour - 20))
    first.read(shards, 1, 0, 10)
    room = int(shards.nbytes[1] + other.nbytes.sum())
    filled(folder, other, max_bytes=room)
    assert read.exists()
    assert read.stat().st_mtime == pytest.approx(hour - 20)
    assert all_bytes(first, shards)[1] == truth(shards)[1]


def test_a_copy_is_marked_as_used_now_and_then_and_not_at_each_read(shards, folder, monkeypatch):
    pins, marks = filled(folder, shards), []
    monkeypatch.setattr(os, "utime", lambda *of, **times: marks.append(of))
    all_bytes(pins, shards)
    assert marks == []
    monkeypatch.setattr(pinned, "MARK", 0)
    all_bytes(pins, shards)
    assert len(marks) == 3


def test_a_copy_that_another_run_gave_up_is_told_once_however_often_it_is_asked_for(
    shards, trusted, folder, caplog
):
    other = pinning.counted(trusted.url)
    first = filled(folder, shards)
    filled(folder, other, max_bytes=int(other.nbytes.sum()))
    for _ in range(3):
        assert all_bytes(first, shards) == [None] * 3
    told = [message.partition(" is read from its store again")[0] for message in caplog.messages]
    assert told == [shards.url(n) for n in range(3)]


def test_the_bound_holds_while_four_processes_fetch_two_sets(shards, trusted, folder):
    other = pinning.counted(trusted.url)
    bound = int(max(shards.nbytes.sum(), other.nbytes.sum()))
    processes = [start(one, folder, bound, delay=0.02) for one in (shards, other) * 2]
    seen = [0]
    while any(process.poll() is None for process in processes):
        seen.append(held(folder))
        time.sleep(0.005)
    assert [process.returncode for process in processes] == [0] * 4
    assert bound / 2 < max(seen) <= bound
    assert leftovers(folder) == []


def held(folder: Path) -> int:
    """Bytes of all files. One that is renamed in between is counted once or not at all."""
    sizes = {}
    for path in (folder / "shards").glob("*"):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        sizes[found.st_ino] = found.st_size
    return sum(sizes.values())


# Processes


def test_two_processes_fetch_each_shard_once(shards, folder, asked):
    total = int(shards.nbytes.sum())
    processes = [start(shards, folder, total, delay=0.02) for _ in range(2)]
    assert [process.communicate()[0] for process in processes] == ["3\n", "3\n"]
    assert len(fetches(asked)) == len(set(fetches(asked))) == 3
    assert [copy.read_bytes() for copy in copies(folder)] == sorted(
        truth(shards), key=lambda data: name_of(shards, data)
    )


def name_of(shards: ShardSet, data: bytes) -> str:
    return shards.fingerprint(truth(shards).index(data))


def test_a_process_killed_in_mid_fetch_leaves_nothing_that_is_read(shards, folder, asked):
    process = start(shards, folder, 1 << 30, delay=0.2)
    while len(asked.read_text().splitlines()) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(leftovers(folder)) == 1
    assert copies(folder) == []
    assert all_bytes(filled(folder, shards), shards) == truth(shards)
    assert leftovers(folder) == []


def test_what_the_killed_left_makes_room_for_others(shards, trusted, folder, asked):
    process = start(shards, folder, 1 << 30, delay=0.2)
    while len(asked.read_text().splitlines()) < 2:
        time.sleep(0.01)
    process.kill()
    process.wait()
    other = pinning.counted(trusted.url)
    pins = filled(folder, other, max_bytes=int(other.nbytes.sum()))
    assert all_bytes(pins, other) == truth(other)
    assert leftovers(folder) == []


def test_what_a_process_left_that_was_killed_as_it_kept_an_index_is_removed(shards, folder):
    left, kept = (folder / "indexes" / name for name in (f".a.x{writing.PARTIAL}", "a.idx.arrow"))
    left.parent.mkdir(parents=True)
    left.touch()
    kept.touch()
    filled(folder, shards)
    assert list(left.parent.iterdir()) == [kept]


def test_nothing_is_fetched_before_the_block_and_nothing_after_it(
    shards, folder, monkeypatch, asked
):
    monkeypatch.setenv("COUNTING_DELAY", "0.1")
    pins = Pinned(str(folder), 1 << 30)
    pins.want(shards)
    assert asked.read_text() == ""
    with pins.fetching() as threads:
        assert {thread.name for thread in threads} == {"stream-pin"}
        while not asked.read_text():
            time.sleep(0.01)
    assert not any(thread.is_alive() for thread in threads)
    assert len(asked.read_text().splitlines()) < 3
    assert leftovers(folder) == copies(folder) == []


def test_a_second_block_fetches_what_is_missing_and_looks_at_nothing_else(shards, folder, asked):
    pins = filled(folder, shards)
    lost, *others = copies(folder)
    lost.unlink()
    for copy in others:
        os.utime(copy, (1, 1))
    assert all_bytes(pins, shards).count(None) == 1
    asked.write_text("")
    pinning.wait_for(pins)
    assert all_bytes(pins, shards) == truth(shards)
    assert len(fetches(asked)) == 1
    assert {copy.stat().st_mtime for copy in others} == {1}


def test_the_block_waits_for_no_store_that_says_nothing(shards, folder):
    silent = scripted.empty()
    silent.files |= dict(zip(shards.paths, truth(shards), strict=True))
    silent.script = [600.0] * 10
    pins = Pinned(str(folder), 1 << 30)
    pins.want(dataclasses.replace(shards, root="scripted://"))
    with pins.fetching():
        while not silent.asked:
            time.sleep(0.01)
        left = time.monotonic()
    assert time.monotonic() - left < SOON
    assert leftovers(folder) == []


def test_the_block_waits_for_no_copy_that_takes_a_minute_to_be_checked(shards, folder):
    large = dataclasses.replace(shards, paths=shards.paths[:1], nbytes=np.array([200 << 30]))
    pins = Pinned(str(folder), 1 << 40)
    pins.want(large)
    copy = folder / "shards" / f"{large.fingerprint(0)}.tar"
    copy.touch()
    os.truncate(copy, 200 << 30)  # of holes
    os.utime(copy, (1, 1))
    with pins.fetching() as threads:
        threads[0].join(0.3)
        assert threads[0].is_alive()
        left = time.monotonic()
    assert time.monotonic() - left < SOON


# Wrong bytes


def test_a_copy_with_a_flipped_bit_is_fetched_again(shards, folder, asked):
    filled(folder, shards)
    rotten = copies(folder)[1]
    data = bytearray(rotten.read_bytes())
    data[1000] ^= 1
    rotten.write_bytes(data)
    os.utime(rotten, (1, 1))
    asked.write_text("")
    assert all_bytes(filled(folder, shards), shards) == truth(shards)
    assert len(fetches(asked)) == 1


def test_a_copy_is_checked_by_one_rank_for_all(shards, folder, monkeypatch):
    filled(folder, shards)
    ranks = [Pinned(str(folder), 1 << 30) for _ in range(3)]
    checked = []
    whole = pinned._sha256
    monkeypatch.setattr(pinned, "_sha256", lambda file: checked.append(1) or whole(file))
    for rank in ranks:
        rank.want(shards)
        pinning.wait_for(rank)
        assert all_bytes(rank, shards) == truth(shards)
    assert len(checked) == 3


def test_a_shard_that_is_not_its_manifests_is_never_pinned(shards, folder, caplog):
    wrong = dataclasses.replace(shards, versions=(shards.versions[0], "0" * 64, "1" * 64))
    pins = filled(folder, wrong)
    assert [data is None for data in all_bytes(pins, wrong)] == [False, True, True]
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert [message.partition(" is not pinned")[0] for message in told] == [
        shards.url(1),
        shards.url(2),
    ]
    assert leftovers(folder) == []


def test_a_foreign_tar_is_pinned_if_its_version_is_still_the_one_that_was_indexed(shards, folder):
    etags = tuple(store.stat(shards.url(n)).etag for n in range(3))
    foreign = dataclasses.replace(shards, versions=(*etags[:2], "other"), indexes="/indexes")
    assert all_bytes(filled(folder, foreign), foreign) == [*truth(shards)[:2], None]


def test_a_missing_shard_is_told_and_the_others_are_pinned(shards, folder, caplog):
    gone = dataclasses.replace(shards, paths=(shards.paths[0], "gone.tar", shards.paths[2]))
    pins = filled(folder, gone)
    assert [data is None for data in all_bytes(pins, gone)] == [False, True, False]
    assert "gone.tar: no such file" in caplog.text


# The folder


def test_a_folder_may_be_the_url_of_a_local_one(shards, folder):
    assert all_bytes(filled(f"file://{folder}", shards), shards) == truth(shards)
    assert len(copies(folder)) == 3


def test_a_folder_on_no_disk_of_this_machine_is_refused_by_its_field():
    with pytest.raises(
        HeadraceError, match=r"stream\.cache\.folder: memory://a: .* no disk of this"
    ):
        Pinned("memory://a", 1)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HeadraceError, match=r"stream\.cache\.folder: .*/file/a: Not a directory"):
        Pinned(str(tmp_path / "file" / "a"), 1)
