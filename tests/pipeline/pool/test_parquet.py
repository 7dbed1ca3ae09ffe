"""Parquet files with image bytes as a pool: rows by number, a few of them in memory at a time."""

import datetime
import io
import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.format.errors import HeadraceError
from pipeline.pool import parquet, source, tables
from pipeline.pool.sample import MAX_TEXT_BYTES, clean_meta
from pipeline.pool.source import SourceConfig
from tests.pipeline.making import png

UID = "0123456789ABCDEF0123456789abcdef"
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def images(*contents: bytes | None) -> pa.Array:
    return pa.array([{"bytes": data, "path": "p.png"} for data in contents], IMAGE)


def noise(number: int, size: int = 300) -> bytes:
    return np.random.default_rng(number).bytes(size)


@pytest.fixture
def write(tmp_path):
    """Writes a parquet file; its parts."""

    def write(columns, group: int | None = None, features=None, name: str = "0.parquet", **options):
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        if features is not None:
            table = table.replace_schema_metadata({"huggingface": features})
        pq.write_table(table, tmp_path / name, row_group_size=group, **options)
        return parquet.parts(str(tmp_path / name))

    return write


def read(parts, max_bytes: int = 10**6):
    return [row for part in parts for row in source.read(part, max_bytes)]


# Whole files


def test_a_row_is_a_pool_image_that_is_fetched_by_its_number(write, tmp_path):
    parts = write({"image": images(png(1), png(2)), "text": ["one", " two\n"], "n": [7, 8]})
    one, two = read(parts)
    assert one.source == two.source == f"file://{tmp_path}/0.parquet"
    assert [(r.key, r.offset) for r in (one, two)] == [("000000000", 0), ("000000001", 1)]
    assert [r.caption for r in (one, two)] == ["one", "two"]
    assert one.meta == {"text": "one", "n": 7}
    assert one.uid != two.uid
    for row, wanted in ((one, png(1)), (two, png(2))):
        assert (row.image, row.nbytes, row.error) == (wanted, len(wanted), None)
        assert parquet.fetch(row.source, row.key, row.offset, row.nbytes) == wanted


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(1), pa.binary_view()])
@pytest.mark.parametrize("name", ["image", "img", "jpg"])
def test_plain_bytes_are_images_too_whatever_their_column_is_called(write, kind, name):
    parts = write({"caption": ["a"], name: pa.array([b"1"], kind)})
    (row,) = read(parts)
    assert (row.image, row.caption, row.meta) == (b"1", "a", {"caption": "a"})
    assert parquet.fetch(row.source, row.key, 0, 1) == b"1"


def test_the_column_called_image_comes_before_others_with_bytes(write):
    (row,) = read(write({"mask": images(b"2"), "image": images(b"1"), "thumb": [b"3"]}))
    assert (row.image, row.meta) == (b"1", {})


@pytest.mark.parametrize(
    "columns",
    [
        {"text": ["a"], "path": ["b"]},
        {"image": ["a path"], "text": ["a"]},
        {"image": pa.array([{"path": "a"}])},
        {"left": [b"1"], "right": [b"2"], "text": ["a"]},
        {},
    ],
)
def test_a_file_whose_image_column_cannot_be_told_is_refused_by_name(write, columns):
    names = ", ".join(columns) or "none"
    with pytest.raises(HeadraceError, match=f"0.parquet: which column .* it has {names}$"):
        write(columns)


def test_two_columns_called_image_are_refused(write):
    table = pa.Table.from_arrays([images(b"1"), images(b"2")], ["image", "image"])
    with pytest.raises(HeadraceError, match="it has image, image"):
        write(table)


# Captions, keys, uids


def test_the_first_caption_column_that_has_words_wins(write):
    columns = {
        "image": images(*[b"1"] * 5),
        "label": ["l"] * 5,
        "TEXT": ["T", "T", "T", None, None],
        "text": ["t", "t", " ", None, None],
        "caption": ["c", None, "", None, None],
        "n": [1] * 5,
    }
    assert [row.caption for row in read(write(columns))] == ["c", "t", "T", "l", "l"]


def features(names) -> str:
    label = {"names": names, "_type": "ClassLabel"}
    return json.dumps({"info": {"features": {"image": {"_type": "Image"}, "label": label}}})


def test_a_class_number_takes_its_name_from_hugging_faces_metadata(write):
    columns = {"image": images(*[b"1"] * 4), "label": [1, 0, -1, 2]}
    rows = read(write(columns, features=features(["cat", "dog"])))
    assert [row.caption for row in rows] == ["dog", "cat", "", ""]
    assert rows[0].meta == {"label": "dog", "class_index": 1}
    assert rows[2].meta == {"label": -1}


@pytest.mark.parametrize(
    "odd", [features("ab"), features(None), features({}), "{", "[]", '{"info": 3}', "[" * 5000]
)
def test_class_names_that_are_none_leave_the_number(write, odd):
    (row,) = read(write({"image": images(b"1"), "label": [0]}, features=odd))
    assert (row.caption, row.meta) == ("", {"label": 0})


def test_a_key_column_names_the_rows_and_a_row_without_one_has_its_number(write):
    columns = {"image": images(b"1", b"2", b"3"), "__key__": ["a", "", None]}
    assert [row.key for row in read(write(columns))] == ["a", "000000001", "000000002"]


def test_a_uid_column_is_used_where_it_is_one(write):
    columns = {"image": images(b"1", b"2", b"3"), "uid": [UID, "short", None]}
    one, two, three = read(write(columns))
    assert (one.uid, one.key) == (UID.lower(), UID)
    assert two.key == "short"
    assert len({row.uid for row in (one, two, three)}) == 3


# Parts


def test_parts_are_whole_row_groups_of_enough_rows(write, monkeypatch):
    monkeypatch.setattr(parquet, "SLICE", 10)
    parts = write({"image": images(*map(noise, range(35)))}, group=4)
    assert [(part.begin, part.end) for part in parts] == [(0, 12), (12, 24), (24, 35)]
    rows = read(parts)
    assert [row.offset for row in rows] == list(range(35))
    assert [row.image for row in rows] == [noise(number) for number in range(35)]
    assert len({part.name for part in parts}) == 3
    assert [len(list(source.read(part, 1000))) for part in parts] == [12, 12, 11]


def test_parts_of_many_files_are_in_the_order_of_their_rows(write, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "SLICE", 2)
    for name in ("b.parquet", "a.parquet"):
        write({"image": images(*map(noise, range(24)))}, group=2, name=name)
    config = SourceConfig(url=str(tmp_path / "*.parquet"), format="parquet")
    found = source.parts((config,))
    assert [(part.source[-9], part.begin) for part in found] == [
        (name, begin) for name in "ab" for begin in range(0, 24, 2)
    ]


def test_a_file_of_no_rows_is_a_part_of_none(write):
    parts = write({"image": images()})
    assert len(parts) == 1
    assert read(parts) == []


# Bad rows


def test_a_row_without_image_bytes_is_a_row_that_says_so(write):
    column = pa.array([None, {"bytes": None, "path": "/etc/passwd"}, {"bytes": b""}], IMAGE)
    rows = read(write({"image": column, "text": ["a", "b", "c"]}))
    assert [row.error for row in rows] == ["no_image: the row has no image bytes"] * 2 + [None]
    assert [(row.image, row.nbytes, row.caption) for row in rows] == [(b"", 0, c) for c in "abc"]
    (row,) = read(write({"image": pa.array([None], pa.binary())}))
    assert row.error.startswith("no_image: ")


def test_an_image_over_the_limit_is_a_row_of_its_true_size(write):
    one, two = read(write({"image": images(b"x" * 101, b"x" * 100)}), max_bytes=100)
    assert (one.error, one.image, one.nbytes) == ("too_many_bytes: 101 is over 100", b"", 101)
    assert (two.error, two.nbytes) == (None, 100)


def broken_text(data: bytes) -> pa.Array:
    offsets = struct.pack("<ii", 0, len(data))
    return pa.StringArray.from_buffers(1, pa.py_buffer(offsets), pa.py_buffer(data))


def test_text_that_is_no_utf8_keeps_its_readable_part(write):
    bad = broken_text(b"caf\xe9 noir")
    nested = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), bad)
    (row,) = read(write({"image": images(b"1"), "caption": bad, "tags": nested, "n": [3]}))
    assert row.caption == "caf\ufffd noir"
    assert row.meta == {"caption": "caf\ufffd noir", "n": 3}


def test_metadata_of_any_type_becomes_json(write):
    day = datetime.datetime(2024, 2, 3, 4, 5, tzinfo=datetime.UTC)
    columns = {
        "image": images(b"1"),
        "boxes": [[[0.1, float("nan")], []]],
        "day": [day],
        "far": pa.array([2**62], pa.timestamp("ms")),
        "zone": pa.array([1], pa.timestamp("s", "No/Where")),
        "kind": pa.array(["k"]).dictionary_encode(),
        "pairs": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        "deep": pa.array([{"blob": b"1", "yes": True}]),
        "none": pa.nulls(1),
    }
    (row,) = read(write(columns))
    assert json.loads(clean_meta(row.meta)) == {
        "boxes": [[0.1, None], []],
        "day": str(day),
        "kind": "k",
        "pairs": [["a", 1]],
        "deep": {"blob": None, "yes": True},
    }


def test_a_row_of_more_text_than_any_may_have_keeps_only_its_image(write):
    texts = ["x" * (MAX_TEXT_BYTES + 1), "short"]
    one, two = read(write({"image": images(b"1", b"2"), "text": texts}))
    assert (one.image, one.caption, one.meta, one.error) == (b"1", "", {}, None)
    assert two.caption == "short"


def test_columns_of_one_name_are_read_and_the_last_tells(write):
    table = pa.Table.from_arrays([images(b"1"), pa.array([1]), pa.array([2])], ["image", "n", "n"])
    (row,) = read(write(table))
    assert row.meta == {"n": 2}


# Damage


def spoil(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))


def test_a_damaged_row_group_is_one_row_and_the_others_are_read(write, tmp_path):
    marks = [b"<%08d>" % number + noise(number) for number in range(12)]
    options = {"compression": "NONE", "use_dictionary": False, "group": 4}
    write({"image": images(*marks)}, **options)
    column = pq.ParquetFile(tmp_path / "0.parquet").metadata.row_group(1).column(0)
    data = bytearray((tmp_path / "0.parquet").read_bytes())
    data[column.data_page_offset : column.data_page_offset + 30] = b"\xff" * 30
    (tmp_path / "0.parquet").write_bytes(data)
    rows = read(parquet.parts(str(tmp_path / "0.parquet")))
    assert [row.offset for row in rows] == [0, 1, 2, 3, 4, 8, 9, 10, 11]
    assert [row.image for row in rows if not row.error] == marks[:4] + marks[8:]
    bad = rows[4]
    assert (bad.key, bad.nbytes, bad.image) == ("", 0, b"")
    assert bad.error.startswith("archive_damaged: rows from 4 on cannot be read: ")
    assert "\n" not in bad.error
    with pytest.raises(HeadraceError, match="row 5 is not what it was"):
        parquet.fetch(bad.source, "", 5, 0)
    assert parquet.fetch(bad.source, "", 8, 0) == marks[8]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"<html>404</html>", b"PAR1" + bytes(99) + b"PAR1"])
def test_a_file_that_is_no_parquet_is_one_row(tmp_path, data):
    (tmp_path / "0.parquet").write_bytes(data)
    parts = parquet.parts(str(tmp_path / "0.parquet"))
    (row,) = read(parts)
    assert (row.key, row.offset) == ("", 0)
    assert row.error.startswith("archive_damaged: not a readable parquet file: ")


def test_no_cut_makes_the_reading_fail(write, tmp_path):
    write({"image": images(*map(noise, range(8))), "text": ["a"] * 8}, group=4)
    whole = (tmp_path / "0.parquet").read_bytes()
    for cut in range(0, len(whole), 97):
        (tmp_path / "0.parquet").write_bytes(whole[:cut])
        (row,) = read(parquet.parts(str(tmp_path / "0.parquet")))
        assert row.error.startswith("archive_damaged: "), cut


def test_no_flipped_bytes_in_the_data_make_the_reading_fail(write, tmp_path):
    write({"image": images(*map(noise, range(8))), "text": ["a"] * 8}, group=4)
    path = tmp_path / "0.parquet"
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    parts = parquet.parts(str(path))
    random = np.random.default_rng(7)
    for _ in range(100):
        data = bytearray(whole)
        for at in random.integers(4, footer, random.integers(1, 6)):
            data[at] = random.integers(256)
        path.write_bytes(data)
        rows = read(parts)
        lost = [row for row in rows if row.error]
        assert len(rows) == 8 or lost
        assert len({row.offset for row in rows}) == len(rows)


# Stores and memory


class Failing(io.BytesIO):
    """A store that breaks down after some reads."""

    def __init__(self, data: bytes, reads: int) -> None:
        super().__init__(data)
        self.left = reads

    def read(self, count=-1):
        self.left -= 1
        if self.left < 0:
            raise ConnectionResetError("connection reset by the store")
        return super().read(count)


def test_a_store_that_fails_is_no_damage_of_the_file(write, tmp_path, monkeypatch):
    (part,) = write({"image": images(*map(noise, range(8)))}, group=4)
    data = (tmp_path / "0.parquet").read_bytes()
    for reads, work in (
        (0, lambda: parquet.parts(str(tmp_path / "0.parquet"))),
        (0, lambda: read([part])),
        (1, lambda: read([part])),
        (1, lambda: parquet.fetch(part.source, "", 5, 0)),
    ):
        monkeypatch.setattr(parquet, "open_scattered", lambda url, n=reads: Failing(data, n))
        with pytest.raises(HeadraceError, match="the store cannot be read: connection reset"):
            work()
    monkeypatch.undo()
    assert parquet.fetch(part.source, "", 5, 0) == noise(5)


def test_a_store_that_fails_half_way_gives_the_rows_before_and_no_row_of_damage(
    write, tmp_path, monkeypatch
):
    (part,) = write({"image": images(*map(noise, range(8)))}, group=4)
    data = (tmp_path / "0.parquet").read_bytes()
    ends = set()
    for reads in range(2, 12):
        monkeypatch.setattr(parquet, "open_scattered", lambda url, n=reads: Failing(data, n))
        rows = []
        try:
            for row in source.read(part, 10**6):
                rows.append(row)  # noqa: PERF402
            ends.add("whole")
        except HeadraceError:
            ends.add(len(rows))
        assert [row.image for row in rows] == [noise(number) for number in range(len(rows))]
    assert {"whole", 4} <= ends


class Counting(io.BytesIO):
    """A file that counts its reads and knows the largest."""

    reads = largest = 0

    def read(self, count=-1):
        self.reads += 1
        self.largest = max(self.largest, count if count >= 0 else 1 << 62)
        return super().read(count)


def test_a_row_group_of_any_size_is_read_in_pieces(write, tmp_path, monkeypatch):
    big = [noise(number, 500_000) for number in range(80)]
    parts = write({"image": images(*big)}, write_batch_size=1, compression="NONE")
    assert len(parts) == 1
    file = Counting((tmp_path / "0.parquet").read_bytes())
    monkeypatch.setattr(parquet, "open_scattered", lambda url: file)
    before, peak = pa.total_allocated_bytes(), 0
    for row, wanted in zip(source.read(parts[0], 10**6), big, strict=True):
        assert row.image == wanted
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert file.largest <= 2 * tables.PIECE
    assert peak < 2.5 * tables.BATCH * 500_000 == 20_000_000


def test_an_image_that_a_dictionary_repeats_is_never_there_many_times(write):
    one = noise(1, 400_000)
    parts = write({"image": images(*[one] * 200)}, compression="ZSTD")
    assert parts[0].nbytes < 1_000_000, "200 images in the room of one"
    before = pa.total_allocated_bytes()
    for row in source.read(parts[0], 10**6):
        assert row.image == one
        assert pa.total_allocated_bytes() - before < 60 * 400_000


# Fetching


def test_rows_are_fetched_in_any_order(write):
    parts = write({"image": images(*map(noise, range(40))), "text": ["a"] * 40}, group=15)
    for row in [0, 1, 2, 20, 19, 19, 39, 5, 16, 17]:
        assert parquet.fetch(parts[0].source, "", row, 0) == noise(row)


def test_rows_fetched_in_their_order_open_each_row_group_once(write, monkeypatch):
    parts = write({"image": images(*map(noise, range(40)))}, group=10)
    opened, open_scattered = [], tables.open_scattered
    monkeypatch.setattr(
        parquet, "open_scattered", lambda url: opened.append(url) or open_scattered(url)
    )
    for row in range(0, 40, 3):
        assert parquet.fetch(parts[0].source, "", row, 0) == noise(row)
    assert len(opened) == 4


def test_a_row_that_is_no_more_there_is_named(write, tmp_path):
    (part,) = write({"image": images(b"1", None)})
    for row in (1, 2):
        with pytest.raises(HeadraceError, match=rf"0\.parquet: row {row} is not what it was"):
            parquet.fetch(part.source, "", row, 0)
    (tmp_path / "0.parquet").unlink()
    with pytest.raises(HeadraceError, match="no such file"):
        parquet.fetch(part.source, "", 0, 0)
