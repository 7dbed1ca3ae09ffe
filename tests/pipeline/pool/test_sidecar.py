"""What img2dataset writes beside a tar: it fills gaps and counts what was never downloaded."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.pool import sidecar, source, webdataset
from tests.pipeline.making import tar_part

UID = "0123456789abcdef0123456789abcdef"
ROWS = [
    {"key": "a", "status": "success", "caption": "from the sidecar", "uid": UID, "width": 3},
    {"key": "b", "status": "failed_to_download", "caption": "never came", "uid": None, "width": 0},
    {"key": "c", "status": "failed_to_resize", "caption": None, "uid": None, "width": None},
]
TAR = {"a.jpg": b"1"}


@pytest.fixture
def part_of(tmp_path):
    """The part of a tar that has these sidecars beside it."""

    def part_of(tar: dict[str, bytes] = TAR, rows=None, stats=None):
        if rows is not None:
            table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows)
            pq.write_table(table, tmp_path / "00000.parquet")
        if stats is not None:
            text = stats if isinstance(stats, str) else json.dumps(stats)
            (tmp_path / "00000_stats.json").write_text(text)
        return tar_part(tmp_path / "00000.tar", tar)

    return part_of


def read(part):
    return list(source.read(part, 1000))


# Metadata


def test_a_sample_without_json_takes_its_metadata_from_the_sidecar(part_of):
    (row,) = read(part_of(rows=ROWS))
    assert (row.caption, row.uid) == ("from the sidecar", UID)
    assert row.meta == {key: value for key, value in ROWS[0].items() if value is not None}


def test_the_json_member_and_the_text_come_first_where_they_tell_something(part_of):
    tar = {"a.jpg": b"1", "a.txt": b"text", "a.json": b'{"width": 7, "url": "http://h/a"}'}
    (row,) = read(part_of(tar, ROWS))
    assert row.caption == "text"
    assert (row.meta["width"], row.meta["url"], row.meta["uid"]) == (7, "http://h/a", UID)


def test_a_sample_that_the_sidecar_does_not_know_is_as_it_was(part_of):
    (row,) = read(part_of({"z.jpg": b"1"}, ROWS))
    assert (row.caption, row.meta, row.error) == ("", {}, None)


def test_rows_that_never_had_an_image_are_no_pool_images(part_of):
    assert [row.key for row in read(part_of(rows=ROWS))] == ["a"]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(500) + b"PAR1", b"<html>"])
def test_a_broken_sidecar_takes_nothing_from_the_tar(part_of, tmp_path, data):
    (tmp_path / "00000.parquet").write_bytes(data)
    part = part_of()
    (row,) = read(part)
    assert (row.image, row.meta, row.error) == (b"1", {}, None)
    assert source.counts(part) == {"sidecar_damaged": 1}


def test_a_sidecar_without_keys_or_with_odd_ones_tells_of_nothing(part_of):
    for rows in ([{"status": "success"}], [{"key": 1, "uid": UID}], [{"key": None, "uid": UID}]):
        (row,) = read(part_of(rows=rows))
        assert row.meta == {}


def test_a_sidecar_that_unpacks_to_more_than_the_limit_is_damaged(part_of, monkeypatch):
    part = part_of(rows=[{"key": "a", "caption": "x" * 50_000}] * 20)
    assert read(part)[0].caption.startswith("xxx")
    monkeypatch.setattr(sidecar, "MAX_BYTES", 500_000)
    assert read(part)[0].caption == ""
    assert source.counts(part) == {"sidecar_damaged": 1}


def test_a_sidecar_that_is_gone_when_the_tar_is_read_is_a_failure_of_the_store(part_of, tmp_path):
    part = part_of(rows=ROWS)
    (tmp_path / "00000.parquet").unlink()
    with pytest.raises(HeadraceError, match=r"00000\.parquet: no such file"):
        read(part)


# Counts


def test_what_was_not_downloaded_is_counted_by_the_statistics(part_of):
    stats = {"count": 10, "successes": 7, "failed_to_download": 2, "failed_to_resize": 1}
    assert source.counts(part_of(rows=ROWS, stats=stats)) == {"not_downloaded": 3}


@pytest.mark.parametrize(
    "stats",
    [
        None,
        "",
        "{",
        "[1]",
        "null",
        {"successes": 3},
        {"count": 1, "successes": 2},
        {"count": "x", "successes": 2},
        {"count": None, "successes": 2},
        '{"count": 1e999, "successes": 2}',
        {"count": 10**30, "successes": 2},
        '{"a":' * 5000,
    ],
)
def test_statistics_that_make_no_sense_give_way_to_the_rows(part_of, stats):
    assert source.counts(part_of(rows=ROWS, stats=stats)) == {"not_downloaded": 2}


def test_nothing_is_counted_where_all_came_or_nothing_is_told(part_of):
    assert source.counts(part_of()) == {}
    assert source.counts(part_of(stats={"count": 5, "successes": 5})) == {}
    assert source.counts(part_of(rows=[{"key": "a"}], stats="no")) == {}


# Parts


def test_sidecars_are_found_by_the_name_of_their_tar_alone(tmp_path):
    for name in ("00000_stats.json", "00001.parquet", "00000.idx.parquet", "000000.parquet"):
        (tmp_path / name).write_bytes(b"")
    assert tar_part(tmp_path / "00000.tar", TAR).files == ("00000_stats.json",)
    assert tar_part(tmp_path / "00001.tar", TAR).files == ("00001.parquet",)
    assert tar_part(tmp_path / "00002.tar", TAR).files == ()


def test_a_part_is_another_one_when_its_sidecar_changes(part_of, tmp_path):
    names = {part_of().name}
    for time in (1, 2):
        part_of(rows=ROWS)
        os.utime(tmp_path / "00000.parquet", (time, time))
        names.add(webdataset.parts(str(tmp_path / "*.tar"))[0].name)
    assert len(names) == 3


def test_a_folder_of_many_shards_is_listed_once(tmp_path, monkeypatch):
    for number in range(5):
        tar_part(tmp_path / f"{number}.tar", TAR)
    names, asked = store.names, []
    monkeypatch.setattr(store, "names", lambda url: asked.append(url) or names(url))
    assert len(webdataset.parts(str(tmp_path / "{0..4}.tar"))) == 5
    assert asked == [f"file://{Path(tmp_path)}"]
