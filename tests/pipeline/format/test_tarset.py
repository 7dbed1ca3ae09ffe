"""Anyone's tars as shards: scanned once, kept apart from the dataset, and never mixed up."""

import os
import subprocess
import sys
import threading
import time
from multiprocessing import get_context
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from fsspec.implementations.local import LocalFileSystem

from pipeline.format import store, tarset
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience
from pipeline.format.shards import read_index
from pipeline.format.snapshot import INDEX_SCHEMA, index_tar, parquet_bytes
from pipeline.format.tarset import index_one, stats, tar_set
from tests.pipeline.format import scripted
from tests.pipeline.making import member, png, tar_of

QUICK = Patience(deadline=30, first_pause=0.001, longest_pause=0.01, stall=0.1)


def write_tars(folder: Path, count: int, samples: int = 2) -> list[str]:
    """Tars 0000.tar and on, whose pictures are numbered through."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        numbers = range(n * samples, (n + 1) * samples)
        data = tar_of({f"{number:04d}.png": png(number, 16, 12) for number in numbers})
        (folder / f"{n:04d}.tar").write_bytes(data)
    return [str(folder / f"{n:04d}.tar") for n in range(count)]


@pytest.fixture
def pool(tmp_path) -> Path:
    write_tars(tmp_path / "pool", 3)
    return tmp_path / "pool"


@pytest.fixture
def cache(tmp_path) -> str:
    return str(tmp_path / "cache")


@pytest.fixture
def scanned(monkeypatch) -> list[str]:
    """The names of the tars that are scanned from now on."""
    names: list[str] = []

    def noted(url):
        names.append(url.rpartition("/")[2])
        return index_tar(url)

    monkeypatch.setattr(tarset, "index_tar", noted)
    return names


# What is named


def test_a_list_a_range_and_a_glob_of_the_same_tars_are_one_set(pool, cache):
    urls = [f"{pool}/{n:04d}.tar" for n in range(3)]
    sets = [tar_set(tars, cache) for tars in (urls, f"{pool}/{{0000..0002}}.tar", f"{pool}/*.tar")]
    assert len({shards.id for shards in sets}) == 1
    for shards in sets:
        assert [shards.url(n) for n in range(3)] == [f"file://{url}" for url in urls]
        assert shards.samples.tolist() == [2, 2, 2]
        assert shards.nbytes.tolist() == [os.path.getsize(url) for url in urls]


def test_a_set_of_other_tars_or_another_order_has_another_id(pool, cache):
    urls = [f"{pool}/{n:04d}.tar" for n in range(3)]
    assert len({tar_set(tars, cache).id for tars in (urls, urls[::-1], urls[:2], urls[0])}) == 4


def test_tars_of_any_store_and_of_several_are_one_set(pool, cache):
    fsspec.filesystem("memory").pipe("/far/9.tar", tar_of({"9.png": png(9)}))
    shards = tar_set([f"{pool}/0001.tar", "memory://far/9.tar"], cache)
    assert [shards.url(n) for n in (0, 1)] == [f"file://{pool}/0001.tar", "memory://far/9.tar"]
    assert read_index(shards, 1).keys.to_pylist() == ["9"]
    fsspec.filesystem("memory").rm("/far", recursive=True)


def test_the_label_says_what_was_named(pool, cache):
    assert tar_set(f"{pool}/*.tar", cache).label == f"{pool}/*.tar"
    urls = [f"{pool}/0000.tar", f"{pool}/0001.tar"]
    assert tar_set(urls, cache).label == f"{pool}/0000.tar and 1 more"


def test_tars_that_cannot_be_a_set_are_refused_and_named(pool, cache):
    tar = f"{pool}/0000.tar"
    with pytest.raises(HeadraceError, match="no tars are named"):
        tar_set([], cache)
    with pytest.raises(HeadraceError, match=r"pool/0000\.tar: named twice"):
        tar_set([tar, f"{pool}/*.tar"], cache)
    with pytest.raises(HeadraceError, match=r"pool/0003\.tar: no such file"):
        tar_set(f"{pool}/{{0000..0003}}.tar", cache)


def test_many_tars_of_a_folder_are_looked_up_by_one_listing(tmp_path, monkeypatch):
    urls = [f"file://{url}" for url in write_tars(tmp_path / "pool", tarset.LISTED, 1)]
    one_by_one = [store.stat(url) for url in urls]
    monkeypatch.setattr(store, "stat", lambda url: pytest.fail(f"looked up {url}"))
    assert stats(urls, Patience()) == one_by_one


def test_many_tars_that_are_links_are_scanned_as_what_they_lead_to(tmp_path, cache):
    links = tmp_path / "links"
    links.mkdir()
    for url in write_tars(tmp_path / "pool", tarset.LISTED, 1):
        os.utime(url, (1, 1))
        (links / Path(url).name).symlink_to(url)
    assert tar_set(f"{links}/*.tar", cache).samples.tolist() == [1] * tarset.LISTED


def test_a_hole_in_many_tars_is_named(tmp_path):
    urls = [f"file://{url}" for url in write_tars(tmp_path / "pool", tarset.LISTED, 1)]
    with pytest.raises(HeadraceError, match=r"9999\.tar: no such file"):
        stats([*urls, f"file://{tmp_path}/pool/9999.tar"], Patience())


def test_a_look_up_that_stalls_is_given_up_and_made_again():
    fake = scripted.empty()
    fake.files["b/0.tar"] = b"1234"
    fake.pauses = [60.0]
    begun = time.monotonic()
    assert [tar.nbytes for tar in stats(["scripted://b/0.tar"], QUICK)] == [4]
    assert time.monotonic() - begun < 5


# Scanning once


def test_an_index_is_that_of_a_scan_and_lies_outside_the_dataset(pool, cache):
    before = sorted(pool.iterdir())
    shards = tar_set(f"{pool}/*.tar", cache)
    for n in range(3):
        assert store.read_bytes(shards.index_url(n)) == parquet_bytes(index_tar(shards.url(n)))
    assert sorted(pool.iterdir()) == before
    assert sorted(path.name for path in Path(cache, "indexes").iterdir()) == sorted(
        f"{shards.fingerprint(n)}.idx.parquet" for n in range(3)
    )


def test_tars_are_scanned_once_and_a_rewritten_one_anew(pool, cache, scanned):
    first = tar_set(f"{pool}/*.tar", cache)
    assert sorted(scanned) == ["0000.tar", "0001.tar", "0002.tar"]
    assert tar_set(f"{pool}/*.tar", cache).id == first.id
    assert len(scanned) == 3
    (pool / "0001.tar").write_bytes(tar_of({"new.png": png(7)}))
    second = tar_set(f"{pool}/*.tar", cache)
    assert scanned[3:] == ["0001.tar"]
    assert second.id != first.id
    assert second.samples.tolist() == [2, 1, 2]
    assert read_index(second, 1).keys.to_pylist() == ["new"]


def test_tars_of_equal_names_in_two_folders_keep_their_own_indexes(tmp_path, cache):
    (one,), (other,) = (write_tars(tmp_path / name, 1) for name in ("a", "b"))
    Path(other).write_bytes(tar_of({"0009.png": png(8, 16, 12), "0008.png": png(9, 16, 12)}))
    os.utime(other, ns=(os.stat(one).st_atime_ns, os.stat(one).st_mtime_ns))
    sets = [tar_set(tars, cache) for tars in (one, other)]
    keys = [read_index(shards, 0).keys.to_pylist() for shards in sets]
    assert keys == [["0000", "0001"], ["0009", "0008"]]


def test_indexes_may_lie_in_any_store(pool, scanned):
    sets = [tar_set(f"{pool}/*.tar", "memory://kept") for _ in range(2)]
    assert sorted(scanned) == ["0000.tar", "0001.tar", "0002.tar"]
    assert sets[1].index_url(2).startswith("memory://kept/indexes/")
    assert read_index(sets[1], 2).keys.to_pylist() == ["0004", "0005"]
    fsspec.filesystem("memory").rm("/kept", recursive=True)


@pytest.fixture
def kept(pool, cache) -> type[scripted.ScriptedStore]:
    """A store, `scripted://kept`, that holds the indexes of the pool."""
    fake = scripted.empty()
    tar_set(f"{pool}/*.tar", cache)
    for path in Path(cache, "indexes").iterdir():
        fake.files[f"kept/indexes/{path.name}"] = path.read_bytes()
    return fake


def test_indexes_in_a_store_that_fails_are_asked_for_again(pool, cache, kept, scanned):
    kept.script, kept.pauses = [OSError("busy"), b"", 60.0], [0.0, 60.0]
    shards = tar_set(f"{pool}/*.tar", "scripted://kept", patience=QUICK)
    assert shards.id == tar_set(f"{pool}/*.tar", cache).id
    assert kept.script == kept.pauses == scanned == []


def test_of_a_large_index_only_the_end_is_read_for_its_count(pool, kept):
    rows = [{"key": os.urandom(16).hex()} for _ in range(10_000)]
    large = parquet_bytes(pa.Table.from_pylist(rows, schema=INDEX_SCHEMA))
    assert len(large) > 2 * tarset.TAIL
    kept.files |= dict.fromkeys(kept.files, large)
    shards = tar_set(f"{pool}/*.tar", "scripted://kept", patience=QUICK)
    assert shards.samples.tolist() == [10_000] * 3
    assert {stop - start for _, start, stop in kept.asked} == {tarset.TAIL}


def test_a_store_that_cannot_list_its_folders_is_asked_for_each_tar(tmp_path, monkeypatch):
    urls = [f"file://{url}" for url in write_tars(tmp_path / "pool", tarset.LISTED, 1)]
    expected = stats(urls, Patience())

    def refuse(self, path, *rest):
        raise PermissionError(path)

    monkeypatch.setattr(LocalFileSystem, "ls", refuse)
    assert stats(urls, Patience()) == expected


def test_the_cache_is_where_the_environment_says(pool, cache, monkeypatch):
    monkeypatch.setenv("HEADRACE_CACHE", cache)
    assert tar_set(f"{pool}/*.tar").indexes == f"file://{cache}/indexes"
    monkeypatch.delenv("HEADRACE_CACHE")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert tarset.default_folder() == "/home/somebody/.cache/headrace"


def _noting(folder: Path, cache: str) -> str:
    """In another process: the id of the set; each scan leaves a line."""
    whole = tarset.index_tar

    def noted(url):
        with (folder.parent / "scans").open("a") as file:
            file.write(url + "\n")
        return whole(url)

    tarset.index_tar = noted
    return tar_set(f"{folder}/*.tar", cache).id


def test_four_processes_at_once_scan_each_tar_once(tmp_path, cache):
    write_tars(tmp_path / "pool", 24, 1)
    with get_context("spawn").Pool(4) as processes:  # a fork of a process with threads may hang
        ids = processes.starmap(_noting, [(tmp_path / "pool", cache)] * 4, chunksize=1)
    assert len(set(ids)) == 1
    scans = (tmp_path / "scans").read_text().split()
    assert len(scans) == len(set(scans)) == 24
    assert not list(Path(cache, "indexes").glob(".*")), "no lock and no partial file is left"


def test_a_tar_that_another_process_scans_is_waited_for_or_left(pool, cache):
    (tar,) = stats([f"file://{pool}/0000.tar"], Patience())
    indexes = f"file://{cache}/indexes"
    Path(cache, "indexes").mkdir(parents=True)
    url = tarset._index_url(tar, indexes)
    with tarset._locked(url, True):
        assert index_one(tar, indexes, Patience(), wait=False) is False
        assert not store.exists(url)
    assert index_one(tar, indexes, Patience(), wait=False) is True
    assert store.exists(url)


def test_a_scan_that_is_killed_leaves_nothing_that_is_believed(pool, cache):
    dying = (
        "import os, sys; from pipeline.format import tarset; "
        "tarset.parquet_bytes = lambda table: os._exit(9); "
        "tarset.tar_set(sys.argv[1], sys.argv[2])"
    )
    command = [sys.executable, "-c", dying, f"{pool}/*.tar", cache]
    assert subprocess.run(command, check=False).returncode == 9
    assert tar_set(f"{pool}/*.tar", cache).samples.tolist() == [2, 2, 2]


def test_the_work_of_many_tars_can_be_given_away(pool, cache):
    given = []

    def run(call, tars):
        given.extend(tar.url[-8:] for tar in tars)
        return [call(tar) for tar in tars]

    shards = tar_set(f"{pool}/*.tar", cache, run)
    assert given == ["0000.tar", "0001.tar", "0002.tar"]
    assert shards.samples.tolist() == [2, 2, 2]


# Damage


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (member("a.png", b"1") + member("b.png", bytes(5000))[:900], "byte 1024: .* ends inside"),
        (tar_of({"a.png": b"1"}) + b"<html>", "byte 2048: garbage follows the end mark"),
        (b"<html>" * 1000, "byte 0: the archive cannot be read"),
        (b"", "byte 0: "),
    ],
)
def test_a_damaged_tar_is_refused_with_its_place_and_what_to_do(pool, cache, data, complaint):
    (pool / "0001.tar").write_bytes(data)
    with pytest.raises(HeadraceError, match=rf"pool/0001\.tar: {complaint}.*curate it first"):
        tar_set(f"{pool}/*.tar", cache)


def test_a_tar_that_changes_while_it_is_scanned_has_no_index(pool, cache, monkeypatch):
    def rewritten(url):
        table = index_tar(url)
        (pool / "0001.tar").write_bytes(tar_of({}))
        return table

    monkeypatch.setattr(tarset, "index_tar", rewritten)
    with pytest.raises(HeadraceError, match=r"0001\.tar: changed while it was scanned"):
        tar_set(f"{pool}/0001.tar", cache)
    assert not list(Path(cache, "indexes").glob("*.parquet"))


def test_an_index_that_was_damaged_in_the_cache_is_named(pool, cache):
    shards = tar_set(f"{pool}/*.tar", cache)
    Path(shards.index_url(1).removeprefix("file://")).write_bytes(b"PAR1")
    with pytest.raises(HeadraceError, match=rf"{shards.index_url(1)}: not a readable index"):
        tar_set(f"{pool}/*.tar", cache)


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(pool, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(HeadraceError, match=r"file/indexes: the cache cannot .* HEADRACE_CACHE"):
        tar_set(f"{pool}/*.tar", str(tmp_path / "file"))


def test_a_cache_that_refuses_a_lock_is_named_with_both_ways_out(pool, cache):
    (tar, *_) = stats([f"file://{pool}/0000.tar"], Patience())
    kept = Path(tarset._index_url(tar, f"{cache}/indexes"))
    kept.with_name(f".{kept.name}.lock").mkdir(parents=True)
    ways = r"HEADRACE_CACHE or stream\.cache\.folder"
    with pytest.raises(HeadraceError, match=rf"cache/indexes: the cache cannot .* {ways}"):
        tar_set(f"{pool}/*.tar", cache)


def test_scanning_is_told_as_it_begins_and_as_it_goes_on(pool, cache, caplog, monkeypatch):
    monkeypatch.setattr(tarset, "PROGRESS", 0)
    tar_set(f"{pool}/*.tar", cache)
    told = [record.message for record in caplog.records]
    assert told[0].startswith("scanning 3 tars of 0.0 GB for their indexes, once")
    assert "scanned 2 of 3 tars" in told
    caplog.clear()
    tar_set(f"{pool}/*.tar", cache)
    assert not caplog.records


def test_tars_are_scanned_side_by_side(pool, cache, monkeypatch):
    together = threading.Barrier(3)

    def wait_for_the_others(url):
        together.wait(10)
        return index_tar(url)

    monkeypatch.setattr(tarset, "index_tar", wait_for_the_others)
    assert tar_set(f"{pool}/*.tar", cache).samples.tolist() == [2, 2, 2]
