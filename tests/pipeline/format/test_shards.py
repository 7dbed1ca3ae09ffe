"""The shards of a source: their URLs, what caches keep them under, and their indexes."""

import dataclasses
import time

import numpy as np
import pytest

from pipeline.format import shards as module
from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience
from pipeline.format.shards import ShardSet, check_unchanged, of_snapshot, read_index
from pipeline.format.snapshot import Shard, index_tar, parquet_bytes
from tests.pipeline.format import scripted
from tests.pipeline.format.test_snapshot import ID, snapshot
from tests.pipeline.making import png, tar_of


def shard_set(**changes) -> ShardSet:
    return dataclasses.replace(of_snapshot(snapshot("s3://b/web")), **changes)


def test_the_shards_of_a_snapshot_have_its_urls_counts_and_digests():
    shards = shard_set()
    assert (shards.id, shards.label) == (ID, f"s3://b/web/snapshots/{ID}")
    assert shards.url(1) == f"s3://b/web/shards/{ID}/00000001.tar"
    assert shards.index_url(1) == f"s3://b/web/shards/{ID}/00000001.idx.parquet"
    assert shards.samples.tolist() == [3, 2]
    assert shards.nbytes.tolist() == [10240, 10240]
    assert shards.samples.dtype == shards.nbytes.dtype == np.int64
    assert shards.versions == ("cd", "ef")


def test_a_snapshot_without_shards_is_an_empty_set():
    shards = of_snapshot(snapshot("s3://b/web", shards=()))
    assert shards.samples.sum() == len(shards.paths) == 0
    assert shards.samples.dtype == np.int64


def test_a_fingerprint_changes_with_the_place_the_size_and_the_version():
    one = shard_set()
    others = [
        shard_set(root="s3://other/web/"),
        shard_set(nbytes=one.nbytes + 1),
        shard_set(versions=("ce", "ef")),
    ]
    found = {shards.fingerprint(0) for shards in (one, *others)}
    assert len(found) == 4
    assert all(len(name) == 32 and int(name, 16) for name in found)
    assert one.fingerprint(0) == shard_set(samples=one.samples + 1).fingerprint(0)


def test_what_an_older_scanner_kept_is_not_used(monkeypatch):
    now = shard_set().fingerprint(0)
    monkeypatch.setattr(module, "SCANNER", module.SCANNER + 1)
    assert shard_set().fingerprint(0) != now


def test_indexes_kept_elsewhere_lie_there_under_the_fingerprint():
    shards = shard_set(indexes="/cache/indexes")
    assert shards.index_url(0) == f"/cache/indexes/{shards.fingerprint(0)}.idx.parquet"


MEMBERS = {
    "a.jpg": png(1), "a.json": b"{}", "a.txt": b"first",
    "b.png": png(2), "b.txt": b"",
    "c.webp": png(3),
}  # fmt: skip


@pytest.fixture
def indexed(tmp_path) -> ShardSet:
    """One shard of three samples, with its index."""
    (tmp_path / "0.tar").write_bytes(tar_of(MEMBERS))
    (tmp_path / "0.idx.parquet").write_bytes(parquet_bytes(index_tar(str(tmp_path / "0.tar"))))
    shards = (Shard("0.tar", 3, (tmp_path / "0.tar").stat().st_size, "ab"),)
    return of_snapshot(snapshot(f"file://{tmp_path}", shards=shards))


def test_an_index_cuts_every_image_and_caption_out_of_its_shard(indexed):
    data, index = store.read_bytes(indexed.url(0)), read_index(indexed, 0)
    assert index.keys.to_pylist() == ["a", "b", "c"]
    images = zip(index.image_offset, index.image_nbytes, strict=True)
    assert [data[at : at + n] for at, n in images] == [png(1), png(2), png(3)]
    assert data[index.text_offset[0] :][: index.text_nbytes[0]] == b"first"
    assert (index.text_offset >= 0).tolist() == [True, True, False]
    assert (index.start < index.image_offset).all()
    assert (index.start[1:] >= index.stop[:-1]).all()
    assert all(column.dtype == np.int64 for column in index[1:])


def test_a_part_of_an_index_is_some_of_its_rows(indexed):
    index = read_index(indexed, 0)
    part = index.part(1, 2)
    assert part.keys.to_pylist() == ["b", "c"]
    for column, whole in zip(part[1:], index[1:], strict=True):
        assert column.tolist() == whole[1:].tolist()


def test_an_empty_shard_has_an_empty_index(tmp_path):
    (tmp_path / "0.idx.parquet").write_bytes(parquet_bytes(index_tar_of_nothing(tmp_path)))
    shards = of_snapshot(snapshot(f"file://{tmp_path}", shards=(Shard("0.tar", 0, 1024, "ab"),)))
    index = read_index(shards, 0)
    assert [len(column) for column in index] == [0] * len(index)


def index_tar_of_nothing(folder):
    (folder / "0.tar").write_bytes(tar_of({}))
    return index_tar(str(folder / "0.tar"))


def test_an_index_that_does_not_match_its_snapshot_is_named(indexed):
    more = dataclasses.replace(indexed, samples=indexed.samples + 1)
    with pytest.raises(HeadraceError, match=r"0\.idx\.parquet: holds 3 samples, file:.* says 4"):
        read_index(more, 0)


def test_a_table_that_is_no_index_is_named(indexed, tmp_path):
    table = index_tar(str(tmp_path / "0.tar")).drop_columns(["image_offset"])
    (tmp_path / "0.idx.parquet").write_bytes(parquet_bytes(table))
    with pytest.raises(HeadraceError, match=r"0\.idx\.parquet: not a readable .*image_offset"):
        read_index(indexed, 0)


def test_a_missing_index_is_named(indexed, tmp_path):
    (tmp_path / "0.idx.parquet").unlink()
    with pytest.raises(HeadraceError, match=r"0\.idx\.parquet: no such file"):
        read_index(indexed, 0)


def as_found(shards: ShardSet, **changes) -> ShardSet:
    """The same shards as tars that are not ours, with the versions that their store tells."""
    found = store.stat(shards.url(0))
    told = {"versions": (found.etag,), "nbytes": np.array([found.nbytes]), "indexes": "/cache"}
    return dataclasses.replace(shards, **told | changes)


def test_a_tar_of_another_size_or_version_than_the_set_says_is_named(indexed):
    check_unchanged(as_found(indexed), 0, Patience())
    for changes in ({"versions": ("old",)}, {"nbytes": np.array([5])}):
        with pytest.raises(HeadraceError, match=r"0\.tar: was changed under the run: \d+ bytes"):
            check_unchanged(as_found(indexed, **changes), 0, Patience())


def test_a_tar_that_is_gone_is_named(indexed, tmp_path):
    shards = as_found(indexed)
    (tmp_path / "0.tar").unlink()
    with pytest.raises(HeadraceError, match=r"0\.tar: no such file"):
        check_unchanged(shards, 0, Patience())


def test_a_look_up_that_stalls_is_given_up_and_made_again():
    fake = scripted.empty()
    fake.files["b/0.tar"] = b"1234"
    told = {"nbytes": np.array([4]), "versions": ("1",), "indexes": "/cache"}
    shards = shard_set(root="scripted://b/", paths=("0.tar",), **told)
    fake.pauses = [60.0]
    begun = time.monotonic()
    check_unchanged(shards, 0, Patience(deadline=30, first_pause=0.001, stall=0.1))
    assert time.monotonic() - begun < 5


def test_the_shards_of_a_snapshot_are_not_looked_up(indexed, tmp_path):
    (tmp_path / "0.tar").unlink()
    check_unchanged(indexed, 0, Patience())
    assert len(read_index(indexed, 0).keys) == 3
