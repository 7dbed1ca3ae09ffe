"""The indexes that are held: read once, the ones used last, within a bound in bytes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience
from pipeline.format.shards import of_snapshot, read_index
from trainer.stream import indexes
from trainer.stream.indexes import Indexes


@pytest.fixture
def reads(monkeypatch) -> list[int]:
    """The shards whose indexes are read from now on."""
    found: list[int] = []

    def noted(shards, n, patience):
        found.append(n)
        return read_index(shards, n, patience)

    monkeypatch.setattr(indexes, "read_index", noted)
    return found


def bounded(web, *held: int) -> Indexes:
    """Room for the indexes of these shards, to the byte."""
    shards = of_snapshot(web)
    room = sum(read_index(shards, n).nbytes for n in held)
    return Indexes(shards, Patience(), room)


def test_an_index_is_what_a_read_gives_and_counts_all_its_columns(web):
    shards = of_snapshot(web)
    held, read = Indexes(shards, Patience())[1], read_index(shards, 1)
    assert held.keys.equals(read.keys)
    assert [column.tolist() for column in held[1:]] == [column.tolist() for column in read[1:]]
    assert read.nbytes == read.keys.nbytes + 6 * 8 * 8


def test_an_index_that_is_held_is_not_read_again(web, reads):
    held = Indexes(of_snapshot(web), Patience())
    for n in (0, 1, 2, 0, 1, 2):
        held[n]
    assert reads == [0, 1, 2]


def test_the_one_used_longest_ago_makes_room_for_another(web, reads):
    held = bounded(web, 0, 1)
    for n in (0, 1, 0, 2, 0, 1):
        held[n]
        assert held.nbytes <= held.max_bytes
    assert reads == [0, 1, 2, 1]


def test_an_index_larger_than_the_bound_is_held_alone(web, reads):
    held = Indexes(of_snapshot(web), Patience(), 1)
    for n in (0, 0, 1, 1):
        held[n]
    assert reads == [0, 1]


def test_threads_that_want_one_index_read_it_once_and_others_do_not_wait(web, monkeypatch):
    reads, other_done = [], threading.Event()

    def slow(shards, n, patience):
        reads.append(n)
        if n == 0:
            assert other_done.wait(10)
        return read_index(shards, n, patience)

    monkeypatch.setattr(indexes, "read_index", slow)
    held = Indexes(of_snapshot(web), Patience(), 1)
    with ThreadPoolExecutor(5) as threads:
        waiting = [threads.submit(held.__getitem__, 0) for _ in range(4)]
        threads.submit(held.__getitem__, 1).result(10)
        other_done.set()
        assert {len(one.result(10).keys) for one in waiting} == {9}
    assert sorted(reads) == [0, 1]


# Kept on a disk


def kept(web, folder) -> Indexes:
    """One that holds a single index, and keeps all."""
    held = Indexes(of_snapshot(web), Patience(), 1)
    held.folder = str(folder)
    return held


def test_an_index_is_read_once_by_all_who_keep_them_in_one_folder(web, reads, tmp_path):
    for held in (kept(web, tmp_path), kept(web, tmp_path)):
        for n in (0, 1, 2, 0, 1, 2):
            held[n]
    assert reads == [0, 1, 2]


def test_a_kept_index_is_the_one_that_was_read(web, reads, tmp_path):
    for n in range(3):
        kept(web, tmp_path)[n]
    for n in range(3):
        was, now = read_index(of_snapshot(web), n), kept(web, tmp_path)[n].part(0, 5)
        assert now.keys.equals(was.keys[:5])
        assert [column.tolist() for column in now[1:]] == [
            column[:5].tolist() for column in was[1:]
        ]
    assert reads == [0, 1, 2]


@pytest.mark.parametrize("left", [0, 99, 2000])
def test_a_kept_index_that_was_cut_is_written_anew(web, reads, tmp_path, left):
    kept(web, tmp_path)[0]
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:left])
    assert len(kept(web, tmp_path)[0].keys) == 9
    assert reads == [0, 0]
    assert file.read_bytes() == whole


def test_a_disk_that_takes_no_index_is_told_once_and_ends_nothing(web, reads, tmp_path, caplog):
    (tmp_path / "file").touch()
    held = kept(web, tmp_path / "file" / "indexes")
    assert [len(held[n].keys) for n in (0, 1, 0)] == [9, 8, 9]
    assert reads == [0, 1, 0]
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "no more indexes are kept"
    ]


# Errors


def test_an_index_that_could_not_be_read_is_read_again(web, reads, monkeypatch):
    held = Indexes(of_snapshot(web), Patience())
    with monkeypatch.context() as broken:
        broken.setattr(indexes, "read_index", lambda *rest: (_ for _ in ()).throw(HeadraceError()))
        with pytest.raises(HeadraceError):
            held[0]
    assert len(held[0].keys) == 9
    assert reads == [0]
