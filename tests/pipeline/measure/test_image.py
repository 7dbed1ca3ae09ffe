"""The facts of one image, good or bad, and one row for each of a pool's images."""

import hashlib
import io
import os

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, JpegImagePlugin

from pipeline import ledger
from pipeline.measure import hashes
from pipeline.measure.image import ImageConfig, facts, fingerprint, measure_part
from pipeline.pool import source
from pipeline.pool.sample import PoolImage
from pipeline.pool.webdataset import parts
from tests.pipeline.making import END, encode, member, picture, png, tar_part

CONFIG = ImageConfig()
BAD = {"truncated", "html", "bomb", "archive_damaged"}


def pool_image(data: bytes, **changes) -> PoolImage:
    fields = {
        "source": "s3://b/0.tar",
        "key": "a",
        "offset": 512,
        "nbytes": len(data),
        "uid": "0" * 32,
        "image": data,
        "caption": "a red fox",
        "meta": {},
    }
    return PoolImage(**(fields | changes))


def test_a_good_image_has_every_fact():
    data = encode(picture(1, 120, 80), "JPEG", quality=90)
    row = facts(pool_image(data, caption=" a  red\tfox ", meta={"url": "https://u:p@h/a"}), CONFIG)
    assert set(row) == set(ledger.IMAGE_SCHEMA.names)
    assert row["sha256"] == hashlib.sha256(data).hexdigest()
    assert (row["format"], row["width"], row["height"]) == ("JPEG", 120, 80)
    assert (row["caption_words"], row["caption_characters"]) == (3, len(" a  red\tfox "))
    assert row["meta"] == '{"url":"https://h/a"}'
    assert (row["error"], row["nbytes"], row["key"], row["offset"]) == (None, len(data), "a", 512)
    assert (row["mode"], row["frames"], row["orientation"]) == ("RGB", 1, 1)
    assert row["bits_per_pixel"] == 8 * len(data) / (120 * 80)
    assert len(row["phashes"]) == 256
    assert 0 <= row["phash_quality"] <= 100
    assert row["sharpness"] > 0
    assert 0 < row["entropy"] < 8
    assert 0 <= row["flat_share"] < 1
    assert (row["language"], row["url"]) == ("en", "https://h/a")


def test_facts_are_the_same_on_every_run():
    assert facts(pool_image(png(1)), CONFIG) == facts(pool_image(png(1)), CONFIG)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_the_size_is_that_of_the_image_the_right_way_up(image_format, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    row = facts(pool_image(encode(picture(1, 40, 20), image_format, exif=exif)), CONFIG)
    size = (40, 20) if turn < 5 else (20, 40)
    assert (row["width"], row["height"], row["orientation"]) == (*size, turn)


@pytest.mark.parametrize(
    ("image", "options", "mode"),
    [
        (Image.new("CMYK", (9, 9)), {"image_format": "JPEG"}, "CMYK"),
        (Image.new("L", (9, 9)), {"image_format": "JPEG"}, "L"),
        (Image.new("RGBA", (9, 9)), {"image_format": "PNG"}, "RGBA"),
        (Image.new("I;16", (9, 9)), {"image_format": "PNG"}, "I;16"),
        (Image.new("P", (9, 9)), {"image_format": "GIF"}, "P"),
        (Image.new("1", (9, 9)), {"image_format": "TIFF"}, "1"),
    ],
)
def test_the_mode_is_that_of_the_stored_pixels(image, options, mode):
    row = facts(pool_image(encode(image, **options)), CONFIG)
    assert (row["error"], row["mode"]) == (None, mode)


def test_an_animation_is_measured_by_its_first_frame():
    first, second = picture(1), Image.new("RGB", (96, 72), "grey")
    data = encode(first, "PNG", save_all=True, append_images=[second, second])
    row, alone = (facts(pool_image(one), CONFIG) for one in (data, png(1)))
    assert row["frames"] == 3
    for name in ("sharpness", "entropy", "flat_share", "phashes"):
        assert row[name] == alone[name]


def test_a_long_strip_is_hashed_from_all_its_pixels():
    strip = picture(1, 20, 2000)
    row = facts(pool_image(encode(strip)), CONFIG)
    look = hashes.perceptual(strip.convert("L"))
    assert look
    assert look._asdict().items() <= row.items()


LARGE = [(512, 512), (640, 486), (1000, 3000), (4001, 300), (1600, 90), (3100, 3100)]


@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("size", LARGE)
def test_a_large_jpeg_has_the_facts_of_the_same_picture_in_full(size, turn):
    """It is decoded at a part of its size; a PNG of the same pixels is not."""
    exif = Image.Exif()
    exif[0x0112] = turn
    grain = np.random.default_rng(2).normal(0, 12, (size[1], size[0], 1))
    noisy = (np.asarray(picture(1, *size)) + grain).clip(0, 255).astype(np.uint8)
    data = encode(Image.fromarray(noisy), "JPEG", quality=92, exif=exif)
    jpeg = facts(pool_image(data), CONFIG)
    png = facts(pool_image(encode(Image.open(io.BytesIO(data)), exif=exif)), CONFIG)
    upright = size if turn == 1 else size[::-1]
    assert (jpeg["width"], jpeg["height"]) == (png["width"], png["height"]) == upright
    assert jpeg["bits_per_pixel"] == 8 * len(data) / (size[0] * size[1])
    assert jpeg["sharpness"] == pytest.approx(png["sharpness"], rel=0.1)
    assert jpeg["entropy"] == pytest.approx(png["entropy"], abs=0.05)
    assert jpeg["flat_share"] == pytest.approx(png["flat_share"], abs=0.03)
    pairs = zip(jpeg["phashes"], png["phashes"], strict=True)
    assert sum((a ^ b).bit_count() for a, b in pairs) < 8 * 16


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.2, 0.7, 0.99])
def test_a_large_jpeg_that_stops_early_is_refused(mode, progressive, share):
    image = picture(1, 2000, 1500).convert(mode)
    data = encode(image, "JPEG", progressive=progressive)
    row = facts(pool_image(data[: int(len(data) * share)]), CONFIG)
    assert row["error"].startswith("decode_failed: ")
    assert (row["width"], row["height"]) == (2000, 1500)


def test_a_jpeg_strip_keeps_the_rows_that_its_hash_needs():
    strip = picture(1, 4000, 70)
    whole, cut = (facts(pool_image(encode(strip, kind)), CONFIG) for kind in ("PNG", "JPEG"))
    pairs = zip(whole["phashes"][:32], cut["phashes"][:32], strict=True)
    assert sum((a ^ b).bit_count() for a, b in pairs) <= 10


def test_a_jpeg_whose_draft_is_refused_has_its_facts_all_the_same(monkeypatch):
    data = encode(picture(1, 600, 400), "JPEG", quality=95)
    drafted = facts(pool_image(data), CONFIG)
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", lambda *_: None)
    whole = facts(pool_image(data), CONFIG)
    assert whole.keys() == drafted.keys()
    assert (whole["width"], whole["height"], whole["mode"]) == (600, 400, "RGB")
    assert whole["entropy"] == pytest.approx(drafted["entropy"], abs=0.05)


def test_an_image_cut_short_keeps_its_digest_format_and_size():
    data = encode(picture(1, 120, 80), "JPEG", quality=95)[:-900]
    row = facts(pool_image(data), CONFIG)
    assert row["error"].startswith("decode_failed: ")
    assert row["sha256"] == hashlib.sha256(data).hexdigest()
    assert (row["format"], row["width"], row["height"]) == ("JPEG", 120, 80)
    assert row["caption_words"] == 3
    assert row["bits_per_pixel"] == 8 * len(data) / (120 * 80)
    assert not row.keys() & {"phashes", "window_phashes", "sharpness"}


def test_a_file_that_is_no_image_keeps_its_digest_and_caption():
    row = facts(pool_image(b"<html>"), CONFIG)
    assert row["error"].startswith("not_an_image: ")
    assert row["sha256"] == hashlib.sha256(b"<html>").hexdigest()
    assert "format" not in row


def test_an_image_that_could_not_be_read_has_its_reason_and_no_digest():
    row = facts(pool_image(b"", nbytes=77, error="too_many_bytes: 77 is over 9"), CONFIG)
    assert (row["error"], row["nbytes"]) == ("too_many_bytes: 77 is over 9", 77)
    assert "sha256" not in row


def test_an_image_over_the_limit_of_pixels_is_not_decoded():
    row = facts(pool_image(png(1, 100, 101)), ImageConfig(max_pixels=10_000))
    assert row["error"] == "too_many_pixels: 100 x 101 is over 10000"


def test_a_tiny_image_is_good_but_has_no_perceptual_hash():
    row = facts(pool_image(png(1, 7, 40)), CONFIG)
    assert row["error"] is None
    assert not row.keys() & set(hashes.Look._fields)


@pytest.mark.parametrize("size", [(1, 1), (1, 60_000), (60_000, 1), (8, 30_000), (2, 3)])
def test_an_image_of_any_shape_can_be_measured(size):
    row = facts(pool_image(encode(Image.new("RGB", size, "red"))), CONFIG)
    assert (row["error"], row["width"], row["height"]) == (None, *size)


def test_a_name_or_text_that_no_utf8_can_hold_is_still_a_row(tmp_path):
    members = {
        "caf\udce9.png": png(1, 16, 16),
        "caf\udce9.json": b'{"caption": "\\ud800", "a\\udfff": 1}',
    }
    part = tar_part(tmp_path / "0.tar", members)
    (row,) = measure_part(part, CONFIG).to_pylist()
    assert (row["key"], row["caption"], row["error"]) == ("caf?", "?", None)
    assert row["meta"] == '{"a?":1,"caption":"?"}'


@pytest.mark.parametrize("field", ["caption", "uid", "other"])
def test_a_record_as_deep_as_can_be_parsed_stops_nothing(tmp_path, field):
    for depth in range(900, 1000):
        record = f'{{"{field}": {"[" * depth + "]" * depth}}}'
        part = tar_part(tmp_path / "0.tar", {"a.png": png(1, 8, 8), "a.json": record.encode()})
        (row,) = measure_part(part, CONFIG).to_pylist()
        assert (row["caption"], row["error"]) == ("", None)
        assert len(row["meta"]) < 100


def test_a_part_is_a_table_with_one_row_for_each_sample_in_order(tmp_path):
    members = {"c.png": png(1), "a.png": b"<html>", "b.txt": b"no image", "d.png": png(2)}
    data = b"".join(member(name, data) for name, data in members.items()) + END
    table = measure_part(tar_part(tmp_path / "0.tar", data[: -len(END) - 512]), CONFIG)
    assert table.schema == ledger.IMAGE_SCHEMA
    assert table["key"].to_pylist() == ["c", "a", "b", ""]
    kinds = [error and error.partition(":")[0] for error in table["error"].to_pylist()]
    assert kinds == [None, "not_an_image", "no_image", "archive_damaged"]


def test_an_empty_tar_is_an_empty_part(tmp_path):
    assert (
        measure_part(tar_part(tmp_path / "0.tar", END), CONFIG) == ledger.IMAGE_SCHEMA.empty_table()
    )


@pytest.mark.parametrize("shard", ["00000000.tar", "00000005.tar"])
def test_the_demo_pool_is_measured_as_its_truth_file_says(demo_data, shard):
    (part,) = parts(str(demo_data / "pool" / shard))
    truth = pq.read_table(demo_data / "truth.parquet", filters=[("shard", "=", shard)]).to_pylist()
    rows = measure_part(part, CONFIG).to_pylist()
    assert len(rows) == len(truth)
    kind_of = {one["key"]: one["kind"] for one in truth}
    for row in rows:
        kind = kind_of[row["key"]] if row["key"] else "archive_damaged"
        assert (row["error"] is not None) == (kind in BAD), (row["key"], kind, row["error"])
    uids = {one["key"]: one["uid"] for one in truth}
    assert all(row["uid"] == uids[row["key"]] for row in rows if row["key"])


def test_bad_pictures_of_the_demo_pool_have_the_reason_of_their_kind(demo_data):
    truth = pq.read_table(demo_data / "truth.parquet").to_pylist()
    expected = {"html": "not_an_image", "truncated": "decode_failed", "bomb": "too_many_pixels"}
    wanted = {
        (one["shard"], one["key"]): expected[one["kind"]]
        for one in truth
        if one["kind"] in expected
    }
    found = {}
    for part in parts(str(demo_data / "pool" / "*.tar")):
        shard = os.path.basename(part.source)
        for image in source.read(part, CONFIG.max_bytes):
            if (shard, image.key) in wanted:
                found[shard, image.key] = facts(image, CONFIG)["error"].partition(":")[0]
    assert found == wanted


def test_the_fingerprint_follows_the_limits():
    marks = [CONFIG, ImageConfig(max_bytes=1), ImageConfig(max_pixels=1)]
    assert len({fingerprint(config) for config in marks}) == 3
    assert fingerprint(ImageConfig()) == fingerprint(CONFIG)


def test_the_image_behind_a_row_is_that_of_its_offset(tmp_path):
    part = tar_part(tmp_path / "0.tar", {"a.txt": b"x", "a.png": png(5), "a.json": b"{}"})
    (row,) = measure_part(part, CONFIG).to_pylist()
    data = (tmp_path / "0.tar").read_bytes()[row["offset"] : row["offset"] + row["nbytes"]]
    assert Image.open(io.BytesIO(data)).size == (96, 72)
