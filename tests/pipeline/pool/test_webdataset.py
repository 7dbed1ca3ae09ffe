"""WebDataset tars as a pool: every sample is a row, whatever is wrong with it."""

import json
import os
import tarfile

import pyarrow.parquet as pq
import pytest

from pipeline.format.errors import HeadraceError
from pipeline.pool import source, webdataset
from pipeline.pool.sample import MAX_TEXT_BYTES, PoolImage, part_name, uid_of
from pipeline.pool.source import SourceConfig
from tests.pipeline.making import END, member, png, tar_of, tar_part, with_checksum

UID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def read(tmp_path):
    """The pool images of a tar with these members."""

    def read(data: bytes | dict[str, bytes], max_bytes: int = 1_000_000) -> list[PoolImage]:
        return list(source.read(tar_part(tmp_path / "0.tar", data), max_bytes))

    return read


def test_a_sample_is_a_row_that_says_where_its_bytes_lie(read, tmp_path):
    members = {
        "a.jpg": png(1),
        "a.txt": b" a caption\n",
        "a.json": json.dumps({"uid": UID.upper(), "width": 3}).encode(),
        "b.png": png(2),
    }
    data = tar_of(members)
    a, b = read(members)
    assert a.source == b.source == f"file://{tmp_path}/0.tar"
    assert (a.key, b.key) == ("a", "b")
    assert (a.uid, a.caption, a.meta["width"], a.error) == (UID, "a caption", 3, None)
    assert (b.caption, b.meta, b.error) == ("", {}, None)
    for row, wanted in ((a, png(1)), (b, png(2))):
        assert row.image == wanted
        assert data[row.offset : row.offset + row.nbytes] == wanted
        assert webdataset.fetch(row.source, row.key, row.offset, row.nbytes) == wanted


def test_the_demo_pool_has_one_row_for_each_truth(demo_data):
    truth = pq.read_table(demo_data / "truth.parquet").to_pylist()
    parts = webdataset.parts(str(demo_data / "pool" / "*.tar"))
    found = [row for part in parts for row in webdataset.read(part, 10**8)]
    wanted = [(one["shard"], one["key"], one["uid"]) for one in truth]
    lost = [row for row in found if row.error]
    assert len(found) == len(truth)
    assert len(lost) == 1
    assert {(r.source.rpartition("/")[2], r.key, r.uid) for r in found if not r.error} == {
        one
        for one, kind in zip(wanted, (one["kind"] for one in truth), strict=True)
        if kind != "archive_damaged"
    }


def test_a_caption_comes_from_the_text_else_from_the_json(read):
    rows = read(
        {
            "a.jpg": b"1", "a.txt": b"text", "a.json": b'{"caption": "json"}',
            "b.jpg": b"1", "b.txt": b" \n", "b.json": b'{"caption": "json"}',
            "c.jpg": b"1", "c.json": b'{"caption": null}',
            "d.jpg": b"1", "d.json": b'{"caption": ["no", "text"]}',
        }
    )  # fmt: skip
    assert [row.caption for row in rows] == ["text", "json", "", ""]


def test_text_that_is_no_utf8_keeps_its_readable_part(read):
    (row,) = read({"a.jpg": b"1", "a.txt": b"caf\xe9 \xff noir"})
    assert row.caption == "caf\ufffd \ufffd noir"
    assert row.error is None


@pytest.mark.parametrize(
    "broken",
    [b"", b"{", b"[1, 2]", b'"text"', b"null", b"\xff\xfe", b'{"a": ' * 5000, b"1" * 10_000],
)
def test_json_that_is_no_record_is_as_good_as_absent(read, broken):
    (row,) = read({"a.jpg": b"1", "a.txt": b"text", "a.json": broken})
    assert (row.meta, row.caption, row.error) == ({}, "text", None)


def test_texts_beyond_the_limit_are_cut_and_never_loaded(read):
    (row,) = read({"a.jpg": b"1", "a.txt": b"x" * (MAX_TEXT_BYTES + 5)})
    assert len(row.caption) == MAX_TEXT_BYTES


def test_a_sample_without_an_image_is_a_row_that_says_what_it_has(read):
    rows = read({"a.txt": b"1", "a.json": b"{}", "b.jpg": b"1", "c.cls": b"4"})
    assert [row.error for row in rows] == [
        "no_image: the sample has only json, txt",
        None,
        "no_image: the sample has only cls",
    ]
    assert [row.offset for row in rows] == [0, 2 * 1024 + 512, 3 * 1024]
    assert [row.nbytes for row in rows] == [0, 1, 0]


def test_a_member_over_the_limit_is_a_row_of_its_true_size_and_is_not_loaded(read):
    a, b = read({"a.jpg": b"x" * 101, "a.txt": b"text", "b.jpg": b"x" * 100}, max_bytes=100)
    assert (a.error, a.image, a.nbytes) == ("too_many_bytes: 101 is over 100", b"", 101)
    assert a.caption == "text"
    assert (b.error, b.image) == (None, b"x" * 100)


def test_the_rest_of_a_damaged_archive_is_one_row_with_its_place_and_size(read):
    data = tar_of({"a.jpg": b"1" * 600, "b.jpg": b"2" * 600})[: 512 + 1024 + 512 + 300]
    a, rest = read(data)
    assert (a.key, a.error) == ("a", None)
    assert (rest.key, rest.offset, rest.nbytes) == ("", 1536, len(data) - 1536)
    assert rest.error == "archive_damaged: the archive ends inside 'b.jpg'"
    assert rest.image == b""


@pytest.mark.parametrize("data", [b"", b"<html>404</html>"])
def test_a_file_that_is_no_tar_is_one_row(read, data):
    (row,) = read(data)
    assert (row.offset, row.nbytes) == (0, len(data))
    assert row.error.startswith("archive_damaged: ")


def test_a_sample_that_is_there_twice_is_two_rows(read):
    data = (member("a.jpg", b"1") + member("a.txt", b"one")) * 2 + END
    rows = read(data)
    assert [row.key for row in rows] == ["a", "a"]
    assert len({(row.source, row.key, row.offset) for row in rows}) == 2


def test_a_damaged_end_is_never_a_row_of_less_than_no_bytes(read):
    whole = tar_of({"a.jpg": b"1" * 600})
    for cut in range(512, len(whole), 37):
        assert all(row.nbytes >= 0 for row in read(whole[:cut])), cut


def test_joined_tars_are_one_source_and_garbage_after_them_is_a_row(read):
    one, two = tar_of({"a.jpg": b"1"}), tar_of({"b.jpg": b"2", "b.txt": b"two"})
    a, b, rest = read(one + two + b"garbage")
    assert [(row.image, row.caption, row.error) for row in (a, b)] == [
        (b"1", "", None),
        (b"2", "two", None),
    ]
    assert (rest.offset, rest.nbytes) == (len(one + two), 7)
    assert rest.error == "archive_damaged: garbage follows the end mark"


def test_a_member_of_five_gigabytes_is_a_row_of_its_true_size(tmp_path):
    info = tarfile.TarInfo("a.jpg")
    info.size = 5 << 30
    path = tmp_path / "0.tar"
    with path.open("wb") as file:
        file.write(info.tobuf())
        file.truncate(512 + info.size)  # a hole: it takes no room on the disk
        file.seek(0, os.SEEK_END)
        file.write(tar_of({"a.json": b"{}", "b.jpg": b"1"}))
    (part,) = webdataset.parts(str(path))
    a, b = source.read(part, 1000)
    assert (a.error, a.nbytes) == (f"too_many_bytes: {5 << 30} is over 1000", 5 << 30)
    assert (b.image, b.offset) == (b"1", 512 + (5 << 30) + 2 * 512 + 512)


def test_json_and_text_of_five_gigabytes_are_as_good_as_absent(tmp_path):
    path = tmp_path / "0.tar"
    with path.open("wb") as file:
        file.write(member("a.jpg", b"1"))
        for name in ("a.json", "a.txt"):
            info = tarfile.TarInfo(name)
            info.size = 5 << 30
            file.write(info.tobuf())
            file.truncate(file.tell() + info.size)
            file.seek(0, os.SEEK_END)
        file.write(END)
    (part,) = webdataset.parts(str(path))
    (row,) = source.read(part, 1000)
    assert (row.image, row.meta, len(row.caption), row.error) == (b"1", {}, MAX_TEXT_BYTES, None)


@pytest.mark.parametrize(
    "name", ["/etc/passwd.jpg", "../../x.jpg", "a\x01\x1b[31m.jpg", "é" * 90 + ".jpg"]
)
def test_a_name_of_any_kind_is_only_a_key(read, name):
    (row,) = read({name: b"1"})
    assert (row.key, row.error) == (name.removesuffix(".jpg"), None)


def test_a_file_stored_with_holes_is_a_row_that_says_so(read):
    header = bytearray(member("a.jpg", b"1" * 512, type=tarfile.GNUTYPE_SPARSE)[:512])
    header[386:410] = b"%011o\0%011o\0" % (0, 512)
    header[483:495] = b"%011o\0" % 9999
    a, b = read(with_checksum(bytes(header)) + b"1" * 512 + member("b.jpg", b"2") + END)
    assert a.error == "no_image: the sample has only jpg.sparse"
    assert (b.image, b.error) == (b"2", None)


# uids


@pytest.mark.parametrize("own", ["", "12", UID + "0", UID[:-1] + "g", 7, None, ["x"]])
def test_an_odd_uid_is_replaced_by_a_hash_of_source_and_key(own):
    uid = uid_of({"uid": own}, "s3://b/0.tar", "a")
    assert uid == uid_of({}, "s3://b/0.tar", "a")
    assert len(uid) == 32
    assert int(uid, 16) >= 0
    assert len({uid, uid_of({}, "s3://b/0.tar", "b"), uid_of({}, "s3://b/1.tar", "a")}) == 3


def test_a_uid_of_the_source_is_kept_in_small_letters():
    assert uid_of({"uid": UID.upper()}, "s3://b/0.tar", "a") == UID


def test_a_uid_can_be_made_of_names_that_are_no_utf8():
    assert len(uid_of({}, "s3://b/0.tar", "caf\udce9")) == 32


# Parts


def test_parts_are_named_after_what_the_store_says_of_them(tmp_path):
    path = tmp_path / "0.tar"
    names = set()
    for time, size in ((1, 0), (2, 0), (1, 10240)):
        path.write_bytes(tar_of({"a.jpg": b"1"}) + bytes(size))
        os.utime(path, (time, time))
        (part,) = webdataset.parts(str(path))
        assert part.nbytes == path.stat().st_size
        names.add(part.name)
        assert webdataset.parts(str(path)) == [part]
    os.utime(path, (1, 1))
    path.rename(tmp_path / "1.tar")
    names.add(webdataset.parts(str(tmp_path / "1.tar"))[0].name)
    assert len(names) == 4
    assert all(len(name) == 32 for name in names)


def test_a_name_of_a_part_does_not_run_its_inputs_together():
    assert part_name("a", 1, 23) != part_name("a", 12, 3)


def test_a_missing_shard_of_a_range_stops_the_listing(tmp_path):
    tar_part(tmp_path / "0.tar", {"a.jpg": b"1"})
    with pytest.raises(HeadraceError, match=r"/1\.tar: no such file"):
        webdataset.parts(f"{tmp_path}/{{0..1}}.tar")


def test_a_tar_that_two_sources_name_is_read_once_and_parts_are_in_pool_order(tmp_path):
    for number in (2, 0, 1):
        tar_part(tmp_path / f"{number}.tar", {"a.jpg": b"1"})
    configs = [SourceConfig(url=f"{tmp_path}/{name}") for name in ("2.tar", "{1..2}.tar", "0.tar")]
    found = source.parts(tuple(configs))
    assert [part.source for part in found] == [f"file://{tmp_path}/{n}.tar" for n in (0, 1, 2)]


def test_a_tar_that_vanishes_before_it_is_read_is_named(tmp_path):
    part = tar_part(tmp_path / "0.tar", {"a.jpg": b"1"})
    (tmp_path / "0.tar").unlink()
    with pytest.raises(HeadraceError, match=r"0\.tar: no such file"):
        list(source.read(part, 100))
