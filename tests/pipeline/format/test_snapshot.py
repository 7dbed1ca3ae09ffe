"""The snapshot format: what is written is read back, and what is wrong is named."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.format import writing
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import (
    INDEX_SCHEMA,
    Shard,
    Snapshot,
    canonical_json,
    index_tar,
    latest,
    manifest_bytes,
    parquet_bytes,
    read_parquet,
    read_snapshot,
    snapshot_id,
)
from tests.pipeline.making import END, member, png, tar_of

ID = "0123456789abcdef"


def snapshot(dataset: str, **changes) -> Snapshot:
    fields = {
        "dataset": dataset,
        "id": ID,
        "parent": None,
        "config": {"rules": {"min_side": 3}, "name": "é"},
        "plan_sha256": "ab",
        "counts": {"kept": 5, "too_small": 1},
        "not_downloaded": 4,
        "shards": (
            Shard(f"shards/{ID}/00000000.tar", 3, 10240, "cd"),
            Shard(f"shards/{ID}/00000001.tar", 2, 10240, "ef"),
        ),
        "ledger": {"image": "0011"},
        "libraries": {"numpy": "2.4"},
    }
    return Snapshot(**(fields | changes))


def publish(one: Snapshot) -> None:
    writing.publish(f"{one.url}/manifest.json", manifest_bytes(one))
    writing.publish(f"{one.dataset}/LATEST", f"{one.id}\n".encode())


# Ids


def test_an_id_is_sixteen_hex_digits_that_change_with_each_input():
    given = ({"a": 1}, "plan", None)
    others = [({"a": 2}, "plan", None), ({"a": 1}, "plan2", None), ({"a": 1}, "plan", ID)]
    ids = {snapshot_id(*inputs) for inputs in [given, *others]}
    assert len(ids) == 4
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)
    assert snapshot_id(*given) == snapshot_id(*given)


def test_an_id_does_not_depend_on_the_order_of_fields():
    assert snapshot_id({"a": 1, "b": 2}, "p", None) == snapshot_id({"b": 2, "a": 1}, "p", None)


def test_an_id_never_changes_between_versions_of_this_code():
    assert snapshot_id({"a": 1}, "plan", None) == "fd857585b46475ab"


def test_canonical_json_has_one_form_and_holds_anything():
    assert canonical_json({"b": 1, "a": [1.5, None, "é"]}) == '{"a":[1.5,null,"é"],"b":1}'.encode()
    assert json.loads(canonical_json({"a": "\ud800"})) == {"a": "?"}


# Manifests


def test_a_manifest_comes_back_as_it_was_published(tmp_path):
    one = snapshot(f"file://{tmp_path}", parent="f" * 16)
    publish(one)
    assert read_snapshot(str(tmp_path)) == one
    assert one.samples == 5
    assert one.shards[0].index_path == f"shards/{ID}/00000000.idx.parquet"


def test_a_manifest_does_not_name_the_folder_it_lies_in(tmp_path):
    assert manifest_bytes(snapshot("s3://here")) == manifest_bytes(snapshot("file:///there"))


def test_a_dataset_gives_its_latest_snapshot_and_a_pinned_url_its_own(tmp_path):
    old, new = snapshot(f"file://{tmp_path}"), snapshot(f"file://{tmp_path}", id="f" * 16)
    publish(old)
    publish(new)
    assert latest(str(tmp_path)) == new.id
    assert read_snapshot(str(tmp_path)) == read_snapshot(f"{tmp_path}/") == new
    assert read_snapshot(f"{tmp_path}/snapshots/{ID}") == old
    assert read_snapshot(old.url) == old


def test_a_dataset_below_a_folder_called_snapshots_is_found(tmp_path):
    one = snapshot(f"file://{tmp_path}/snapshots/web")
    publish(one)
    assert read_snapshot(f"{tmp_path}/snapshots/web") == one
    assert read_snapshot(one.url) == one


def test_an_empty_folder_says_what_to_do(tmp_path):
    assert latest(str(tmp_path)) is None
    with pytest.raises(HeadraceError, match=r"no snapshot here \(no LATEST file\); curate it fir"):
        read_snapshot(str(tmp_path))


def test_a_missing_snapshot_names_its_manifest(tmp_path):
    with pytest.raises(HeadraceError, match=rf"snapshots/{ID}/manifest\.json: no such file"):
        read_snapshot(f"{tmp_path}/snapshots/{ID}")


@pytest.mark.parametrize(
    ("contents", "complaint"),
    [
        (b"", "not a manifest of headrace"),
        (b"{", "not a manifest of headrace"),
        (b"[]", "not a manifest of headrace"),
        (b"{}", "not a manifest of headrace: 'format'"),
        (b'{"format": 1}', "not a manifest of headrace: 'shards'"),
        (b'{"format": 1, "shards": [], "size": 3}', "not a manifest of headrace"),
        (b'{"format": 2}', "made by another version of headrace"),
        (b"\xff\xfe", "not a manifest of headrace"),
    ],
)
def test_a_file_that_is_no_manifest_is_named(tmp_path, contents, complaint):
    url = f"{tmp_path}/snapshots/{ID}"
    writing.publish(f"{url}/manifest.json", contents)
    with pytest.raises(HeadraceError, match=rf"{ID}/manifest\.json: {complaint}"):
        read_snapshot(url)


# Indexes


def test_the_index_of_a_tar_cuts_every_member_out_of_it(tmp_path):
    members = {
        "a.jpg": png(1), "a.json": b"{}", "a.txt": b"first",
        "b.png": png(2), "b.txt": b"",
        "c.txt": b"no picture",
        "d/e.webp": png(3), "d/e.json": b"{}",
    }  # fmt: skip
    data = tar_of(members)
    (tmp_path / "0.tar").write_bytes(data)
    table = index_tar(str(tmp_path / "0.tar"))
    assert table.schema == INDEX_SCHEMA
    rows = table.to_pylist()
    assert [(row["position"], row["key"]) for row in rows] == [(0, "a"), (1, "b"), (2, "d/e")]
    for row in rows:
        names = {"image": row["image_extension"], "text": "txt", "json": "json"}
        for column, extension in names.items():
            offset, nbytes = row[f"{column}_offset"], row[f"{column}_nbytes"]
            wanted = members.get(f"{row['key']}.{extension}")
            assert (None if offset is None else data[offset : offset + nbytes]) == wanted
        with tarfile.open(
            fileobj=io.BytesIO(data[row["start"] : row["stop"]] + bytes(2048))
        ) as tar:
            assert tar.next().name.startswith(row["key"])


def test_a_tar_without_samples_has_an_empty_index(tmp_path):
    (tmp_path / "0.tar").write_bytes(END)
    assert index_tar(str(tmp_path / "0.tar")) == INDEX_SCHEMA.empty_table()


def test_a_damaged_tar_has_no_index_and_names_the_byte(tmp_path):
    (tmp_path / "0.tar").write_bytes(member("a.jpg", b"1") + member("b.jpg", bytes(5000))[:900])
    with pytest.raises(
        HeadraceError, match=r"/0\.tar: byte 1024: the archive ends inside 'b.jpg'; curate"
    ):
        index_tar(str(tmp_path / "0.tar"))


def test_names_that_are_no_utf8_have_an_index(tmp_path):
    (tmp_path / "0.tar").write_bytes(member("\udcff.jpg", b"1") + member("\udcfe.jpg") + END)
    assert index_tar(str(tmp_path / "0.tar"))["key"].to_pylist() == [r"\xff", r"\xfe"]


# Parquet


def table_of(rows: int) -> pa.Table:
    return pa.table({"a": list(range(rows)), "b": [f"row {n * n}" for n in range(rows)]})


def test_equal_tables_have_equal_parquet_bytes_and_come_back(tmp_path):
    data = parquet_bytes(table_of(1000))
    assert data == parquet_bytes(table_of(1000))
    (tmp_path / "t").write_bytes(data)
    assert read_parquet(str(tmp_path / "t")) == table_of(1000)
    assert read_parquet(str(tmp_path / "t"), ["b"]).column_names == ["b"]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def overwritten(data: bytes) -> bytes:
    return data[:40] + b"\x55" * 200 + data[240:]


def without_footer(data: bytes) -> bytes:
    return data[:-60] + b"\xff" * 52 + data[-8:]


def path_of_html(_: bytes) -> bytes:
    return b"<html>"


@pytest.mark.parametrize("damage", [cut, overwritten, without_footer, path_of_html, bytes.lower])
def test_a_damaged_parquet_file_is_named(tmp_path: Path, damage):
    data = damage(parquet_bytes(table_of(1000)))
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(HeadraceError, match=r"t\.parquet: not a readable parquet file: "):
        read_parquet(str(tmp_path / "t.parquet"))


def test_a_missing_parquet_file_is_named(tmp_path):
    with pytest.raises(HeadraceError, match=r"t\.parquet: no such file"):
        read_parquet(str(tmp_path / "t.parquet"))
