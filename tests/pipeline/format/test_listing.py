"""A published list of tars: what was found once is what every reader sees."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.format import tarset, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.listing import publish_listing, read_listing
from pipeline.format.shards import ShardSet, read_index
from pipeline.format.snapshot import parquet_bytes, read_parquet
from pipeline.format.tarset import tar_set
from tests.pipeline.making import png, tar_of


@pytest.fixture
def shards(tmp_path) -> ShardSet:
    for n in range(3):
        members = {f"{n}{at}.png": png(n * 9 + at, 16, 12) for at in range(n + 1)}
        (tmp_path / f"{n}.tar").write_bytes(tar_of(members))
    return tar_set(f"{tmp_path}/{{0..2}}.tar", str(tmp_path / "mixture"))


def facts(shards: ShardSet) -> tuple:
    columns = (shards.samples.tolist(), shards.nbytes.tolist(), shards.versions, shards.indexes)
    return (shards.id, shards.label, shards.root, shards.paths, *columns)


def test_a_tar_set_comes_back_as_it_was_published(shards, tmp_path):
    url = publish_listing(shards)
    assert url == f"file://{tmp_path}/mixture/{shards.id}.shards.parquet"
    again = read_listing(url)
    assert facts(again) == facts(shards)
    assert again.samples.tolist() == [1, 2, 3]
    assert read_index(again, 2).keys.to_pylist() == ["20", "21", "22"]


def test_tars_of_several_stores_come_back_under_their_own_urls(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.tar").write_bytes(tar_of({f"{folder}.png": png(1)}))
    shards = tar_set([f"{tmp_path}/{folder}/0.tar" for folder in "ab"], str(tmp_path / "mixture"))
    again = read_listing(publish_listing(shards))
    assert [again.url(n) for n in (0, 1)] == [f"file://{tmp_path}/{name}/0.tar" for name in "ab"]


def test_reading_a_list_looks_up_no_tar_and_scans_none(shards, tmp_path, monkeypatch):
    url = publish_listing(shards)
    for n in range(3):
        (tmp_path / f"{n}.tar").unlink()
    monkeypatch.setattr(tarset, "index_tar", lambda url: pytest.fail(f"scanned {url}"))
    assert facts(read_listing(url)) == facts(shards)


def changed(table: pa.Table, column: str, value: object) -> pa.Table:
    values = [value, *table[column].to_pylist()[1:]]
    at = table.schema.get_field_index(column)
    return table.set_column(at, table.schema.field(at), pa.array(values, table[column].type))


@pytest.mark.parametrize(
    ("column", "value"), [("path", "9.tar"), ("samples", 7), ("nbytes", 7), ("etag", "7")]
)
def test_a_list_that_was_changed_is_found_out(shards, column, value):
    url = publish_listing(shards)
    writing.publish(url, parquet_bytes(changed(read_parquet(url), column, value)))
    with pytest.raises(HeadraceError, match=f"{url}: was changed since it was published"):
        read_listing(url)


def test_a_table_that_is_no_list_is_named(shards, tmp_path):
    for table in (pa.table({"path": ["0.tar"]}), read_parquet(publish_listing(shards)).select([0])):
        Path(tmp_path / "x.shards.parquet").write_bytes(parquet_bytes(table))
        with pytest.raises(HeadraceError, match=r"x\.shards\.parquet: not a list of tars of headr"):
            read_listing(str(tmp_path / "x.shards.parquet"))


def test_a_missing_or_damaged_list_is_named(tmp_path):
    with pytest.raises(HeadraceError, match=r"x\.shards\.parquet: no such file"):
        read_listing(str(tmp_path / "x.shards.parquet"))
    (tmp_path / "x.shards.parquet").write_bytes(b"<html>")
    with pytest.raises(HeadraceError, match=r"x\.shards\.parquet: not a readable parquet file"):
        read_listing(str(tmp_path / "x.shards.parquet"))
