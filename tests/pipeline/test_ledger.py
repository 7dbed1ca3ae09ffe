"""The ledger: parts of column families, side by side."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline import ledger
from pipeline.format import store, writing
from pipeline.format.errors import HeadraceError
from pipeline.pool.sample import Part

FAMILIES = {"image": "aaaa", "clip": "bbbb"}


def image_table(*keys: str) -> pa.Table:
    rows = [{"source": "s3://b/0.tar", "key": key, "caption": f"of {key}"} for key in keys]
    return pa.Table.from_pylist(rows, schema=ledger.IMAGE_SCHEMA)


def clip_table(*scores: float | None) -> pa.Table:
    embedding = np.array([0.6, 0.8], np.float16)
    rows = [{"clip_score": s, "clip_embedding": None if s is None else embedding} for s in scores]
    return pa.Table.from_pylist(rows, schema=ledger.CLIP_SCHEMA)


@pytest.fixture
def dataset(tmp_path) -> str:
    url = f"file://{tmp_path}/dataset"
    tables = {
        "image": [image_table("a", "b"), image_table("c")],
        "clip": [clip_table(0.25, None), clip_table(0.5)],
    }
    for measure, parts in tables.items():
        for name, table in zip(("p0", "p1"), parts, strict=True):
            ledger.write_part(ledger.part_url(url, measure, FAMILIES[measure], name), table)
    return url


def test_families_come_back_side_by_side(dataset):
    table = ledger.read_part(dataset, FAMILIES, "p0", ["key", "clip_score", "caption"])
    assert table.to_pylist() == [
        {"key": "a", "caption": "of a", "clip_score": 0.25},
        {"key": "b", "caption": "of b", "clip_score": None},
    ]


def test_a_whole_family_comes_back_as_it_was_written(dataset):
    image = ledger.read_part(dataset, {"image": "aaaa"}, "p0", ledger.IMAGE_SCHEMA.names)
    assert image.schema == ledger.IMAGE_SCHEMA
    assert image.equals(image_table("a", "b"))
    clip = ledger.read_part(dataset, {"clip": "bbbb"}, "p0", ledger.CLIP_SCHEMA.names)
    assert clip.equals(clip_table(0.25, None))


def test_a_column_that_no_chosen_family_has_is_left_out(dataset):
    table = ledger.read_part(dataset, {"image": "aaaa"}, "p0", ["key", "clip_score"])
    assert table.column_names == ["key"]


def test_a_part_is_counted_without_reading_its_rows(dataset):
    assert ledger.count_part(dataset, "image", "aaaa", "p0") == 2
    assert ledger.count_part(dataset, "image", "aaaa", "p1") == 1
    with pytest.raises(HeadraceError, match="not measured yet"):
        ledger.count_part(dataset, "image", "aaaa", "p7")


def test_a_missing_part_is_named_with_the_command_that_makes_it(dataset):
    with pytest.raises(
        HeadraceError, match=r"ledger/image/aaaa/p7\.parquet: .* `headrace measure`"
    ):
        ledger.read_part(dataset, FAMILIES, "p7", ["key"])
    with pytest.raises(HeadraceError, match=r"ledger/clip/cccc/p0\.parquet: .* `headrace measure`"):
        ledger.read_part(dataset, FAMILIES | {"clip": "cccc"}, "p0", ["key", "clip_score"])


def test_families_that_do_not_line_up_are_named(dataset):
    ledger.write_part(ledger.part_url(dataset, "clip", "bbbb", "p0"), clip_table(0.5))
    with pytest.raises(
        HeadraceError, match=r"clip/bbbb/p0\.parquet: not as long as the other families"
    ):
        ledger.read_part(dataset, FAMILIES, "p0", ["key", "clip_score"])


def test_a_damaged_part_is_named(dataset):
    writing.publish(ledger.part_url(dataset, "image", "aaaa", "p0"), b"PAR1 and so on PAR1")
    with pytest.raises(HeadraceError, match=r"image/aaaa/p0\.parquet: not a readable parquet"):
        ledger.read_part(dataset, FAMILIES, "p0", ["key"])


def test_missing_parts_are_those_not_published_in_order(dataset, tmp_path):
    parts = [Part("webdataset", f"s3://b/{n}", f"p{n}", 1) for n in (3, 0, 2, 1)]
    assert [p.name for p in ledger.missing(dataset, "image", "aaaa", parts)] == ["p3", "p2"]
    assert ledger.missing(dataset, "image", "other", parts) == parts
    folder = tmp_path / "dataset" / "ledger" / "image" / "aaaa"
    (folder / ".p3.parquet.x.partial").write_bytes(b"")
    assert [p.name for p in ledger.missing(dataset, "image", "aaaa", parts)] == ["p3", "p2"]


def test_a_fingerprint_follows_the_measure_its_version_and_every_setting():
    base = ("clip", 1, {"batch": 4, "weights": "ab"})
    others = [
        ("image", 1, {"batch": 4, "weights": "ab"}),
        ("clip", 2, {"batch": 4, "weights": "ab"}),
        ("clip", 1, {"batch": 5, "weights": "ab"}),
        ("clip", 1, {"batch": 4}),
    ]
    marks = {ledger.fingerprint(*one) for one in [base, *others]}
    assert len(marks) == 5
    assert all(len(mark) == 16 for mark in marks)
    assert ledger.fingerprint("clip", 1, {"weights": "ab", "batch": 4}) == ledger.fingerprint(*base)


def test_a_published_part_has_the_same_bytes_every_time(dataset, tmp_path):
    ledger.write_part(f"{dataset}/again.parquet", image_table("a", "b"))
    first = ledger.part_url(dataset, "image", "aaaa", "p0")
    assert store.read_bytes(first) == store.read_bytes(f"{dataset}/again.parquet")
