"""Shards: the bytes that were measured, in plain tars, the same on every run."""

import hashlib
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
import webdataset
from PIL import Image

from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Shard, index_tar, read_parquet
from pipeline.measure.image import ImageConfig, measure_part
from pipeline.pool import folder
from pipeline.pool.sample import Part
from pipeline.pool.webdataset import parts
from pipeline.write.alter import AlterConfig
from pipeline.write.shards import WRITE_COLUMNS, shard_path, write_shard
from tests.pipeline.making import encode, picture, png, tar_part

ID = "0123456789abcdef"


def kept_rows(*pool: Part) -> pa.Table:
    """What is good in these parts, all in one shard."""
    facts = pa.concat_tables([measure_part(part, ImageConfig()) for part in pool])
    good = facts.filter(facts["error"].is_null()).select(WRITE_COLUMNS)
    count = range(good.num_rows)
    return good.append_column("position", [count]).append_column("shard_key", [keys(count)])


def keys(count: range) -> list[str]:
    return [f"{number:032x}" for number in count]


@pytest.fixture(scope="module")
def pool(tmp_path_factory, demo_data) -> Path:
    """The first demo shard, which a test may not change."""
    return demo_data / "pool" / "00000000.tar"


@pytest.fixture(scope="module")
def rows(pool) -> pa.Table:
    return kept_rows(parts(str(pool))[0])


def write(dataset: Path, rows: pa.Table, number: int = 0, pool_format: str = "webdataset") -> Shard:
    formats = dict.fromkeys(set(rows["source"].to_pylist()), pool_format)
    path = shard_path(ID, number)
    return write_shard(f"file://{dataset}", path, lambda: rows, formats, AlterConfig())


def test_a_shard_has_the_same_bytes_wherever_it_is_written(tmp_path, rows):
    one, other = write(tmp_path / "one", rows), write(tmp_path / "other", rows)
    assert one == other
    for path in (one.path, one.index_path):
        data = (tmp_path / "one" / path).read_bytes()
        assert data == (tmp_path / "other" / path).read_bytes()
    assert one.sha256 == hashlib.sha256((tmp_path / "one" / one.path).read_bytes()).hexdigest()
    assert one.nbytes == (tmp_path / "one" / one.path).stat().st_size
    assert one.samples == rows.num_rows > 200
    assert one.path == shard_path(ID, 0) == f"shards/{ID}/00000000.tar"


def test_the_index_cuts_out_the_bytes_that_were_measured(tmp_path, rows):
    shard = write(tmp_path, rows)
    data = (tmp_path / shard.path).read_bytes()
    index = read_parquet(str(tmp_path / shard.index_path)).to_pylist()
    for place, row in zip(index, rows.to_pylist(), strict=True):
        cut = {
            name: data[place[f"{name}_offset"] :][: place[f"{name}_nbytes"]]
            for name in ("image", "text", "json")
        }
        assert place["key"] == row["shard_key"]
        assert place["position"] == row["position"]
        assert hashlib.sha256(cut["image"]).hexdigest() == row["sha256"]
        assert cut["text"].decode() == row["caption"]
        assert cut["json"].decode() == row["meta"]
        assert place["start"] < place["image_offset"] < place["stop"]
    assert index == index_tar(str(tmp_path / shard.path)).to_pylist()


def test_stock_webdataset_reads_the_same_keys_and_bytes(tmp_path, rows):
    shard = write(tmp_path, rows)
    stock = list(webdataset.WebDataset(str(tmp_path / shard.path), shardshuffle=False))
    assert [one["__key__"] for one in stock] == rows["shard_key"].to_pylist()
    for one, row in zip(stock, rows.to_pylist(), strict=True):
        (image,) = [one[e] for e in ("jpg", "png", "webp") if e in one]
        assert hashlib.sha256(image).hexdigest() == row["sha256"]
        assert one["txt"].decode() == row["caption"]
        assert one["json"] == row["meta"].encode()


def test_stock_webdataset_decodes_them_as_open_clip_asks(tmp_path, rows):
    shard = write(tmp_path, rows)
    pipe = webdataset.WebDataset(str(tmp_path / shard.path), shardshuffle=False)
    pipe = pipe.decode("pilrgb").rename(image="jpg;png;webp", text="txt").to_tuple("image", "text")
    images = list(pipe)
    assert len(images) == rows.num_rows
    assert all(image.mode == "RGB" and isinstance(text, str) for image, text in images)


def test_members_have_no_owner_and_no_time(tmp_path, rows):
    shard = write(tmp_path, rows.slice(0, 5))
    with tarfile.open(tmp_path / shard.path) as tar:
        facts = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar}
    assert facts == {(0, 0, 0, "", "", 0o444)}


def test_every_format_gets_its_common_extension(tmp_path):
    image = picture(1)
    members = {
        f"{n}.jpg": encode(image, f)
        for n, f in enumerate(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
    }
    members["6.jpg"] = encode(image, "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))])
    rows = kept_rows(tar_part(tmp_path / "pool" / "0.tar", members))
    shard = write(tmp_path, rows)
    found = read_parquet(str(tmp_path / shard.index_path))["image_extension"].to_pylist()
    assert found == ["jpg", "png", "webp", "gif", "bmp", "tif", "jpg"]


def test_odd_captions_and_records_survive(tmp_path):
    record = {"url": "https://u:p@h/é", "n": 1.5, "caption": "\ud83d\ude00 \0 é"}
    members = {"a.png": png(1), "a.json": json.dumps(record).encode(), "b.png": png(2)}
    shard = write(tmp_path, kept_rows(tar_part(tmp_path / "pool" / "0.tar", members)))
    a, b = webdataset.WebDataset(str(tmp_path / shard.path), shardshuffle=False)
    assert a["txt"].decode() == "😀 \0 é"
    assert json.loads(a["json"]) == {"url": "https://h/é", "n": 1.5, "caption": "😀 \0 é"}
    assert (b["txt"], b["json"]) == (b"", b"{}")


def test_class_folders_become_plain_shards_too(tmp_path):
    for name in ("cat/1.png", "dog/2.png"):
        (tmp_path / "pool" / name).parent.mkdir(parents=True)
        (tmp_path / "pool" / name).write_bytes(png(len(name) + ord(name[0])))
    rows = kept_rows(*folder.parts(str(tmp_path / "pool")))
    shard = write(tmp_path, rows, pool_format="folder")
    found = list(webdataset.WebDataset(str(tmp_path / shard.path), shardshuffle=False))
    assert [one["txt"] for one in found] == [b"cat", b"dog"]
    assert [json.loads(one["json"]) for one in found] == [{"label": "cat"}, {"label": "dog"}]


# Sources that change, runs that are repeated


def changed(data: bytes) -> bytes:
    at = data.index(b"IDAT") + 10
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def shortened(data: bytes) -> bytes:
    return data[:700]


@pytest.mark.parametrize("change", [changed, shortened])
def test_a_source_that_changed_since_it_was_measured_is_named_and_nothing_published(
    tmp_path, change
):
    part = tar_part(tmp_path / "pool" / "0.tar", {"a.png": png(1), "b.png": png(2)})
    rows = kept_rows(part)
    path = tmp_path / "pool" / "0.tar"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(
        HeadraceError, match=r"0\.tar: sample a is not what was measured; .* `headrace"
    ):
        write(tmp_path / "dataset", rows)
    assert [path for path in (tmp_path / "dataset").rglob("*") if path.is_file()] == []


def test_a_source_that_vanished_is_named(tmp_path):
    rows = kept_rows(tar_part(tmp_path / "pool" / "0.tar", {"a.png": png(1)}))
    (tmp_path / "pool" / "0.tar").unlink()
    with pytest.raises(HeadraceError, match=r"pool/0\.tar: no such file"):
        write(tmp_path / "dataset", rows)


def test_a_published_shard_is_looked_up_and_not_written_again(tmp_path):
    part = tar_part(tmp_path / "pool" / "0.tar", {"a.png": png(1), "b.png": png(2)})
    rows = kept_rows(part)
    shard = write(tmp_path, rows)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").rglob("*.*")}
    (tmp_path / "pool" / "0.tar").unlink()
    assert write(tmp_path, rows) == shard
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").rglob("*.*")} == before


def test_a_tar_without_its_index_is_written_again_to_the_same_bytes(tmp_path, rows):
    shard = write(tmp_path, rows.slice(0, 20))
    index = (tmp_path / shard.index_path).read_bytes()
    tar = (tmp_path / shard.path).read_bytes()
    (tmp_path / shard.index_path).unlink()
    (tmp_path / shard.path).write_bytes(b"left by something else")
    assert write(tmp_path, rows.slice(0, 20)) == shard
    assert (tmp_path / shard.index_path).read_bytes() == index
    assert (tmp_path / shard.path).read_bytes() == tar


def test_rows_are_written_in_the_order_that_they_are_given(tmp_path, rows):
    some = rows.slice(0, 10)
    backward = some.take(pa.array(range(9, -1, -1)))
    write(tmp_path / "a", some, number=0)
    write(tmp_path / "a", backward, number=1)
    keys = [
        [one["__key__"] for one in webdataset.WebDataset(str(path), shardshuffle=False)]
        for path in sorted((tmp_path / "a").rglob("*.tar"))
    ]
    assert keys[0] == keys[1][::-1] == some["shard_key"].to_pylist()
