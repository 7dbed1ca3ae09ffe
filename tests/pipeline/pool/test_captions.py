"""`caption` of a source: which field of a record its captions are, in every format."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline.pool import source
from pipeline.pool.sample import words_of
from pipeline.pool.source import SourceConfig
from tests.pipeline.making import png, tar_of


def captions(config: SourceConfig) -> list[str]:
    return [row.caption for part in source.parts((config,)) for row in source.read(part, 10**6)]


@pytest.fixture
def tar(tmp_path):
    """The captions of a tar of these members, by a field."""

    def read(members: dict[str, bytes], field: str | None) -> list[str]:
        (tmp_path / "0.tar").write_bytes(tar_of(members))
        return captions(SourceConfig(url=str(tmp_path / "0.tar"), caption=field))

    return read


def test_a_folder_a_tar_and_parquet_give_the_same_labels_beside_their_texts(tmp_path):
    images, labels = [png(0), png(1)], ["cat", "dog"]
    for image, label in zip(images, labels, strict=True):
        (tmp_path / "folder" / label).mkdir(parents=True)
        (tmp_path / "folder" / label / "0.png").write_bytes(image)
        (tmp_path / "folder" / label / "0.txt").write_bytes(b"words")
    members = {}
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        members |= {f"{number}.png": image, f"{number}.txt": b"words"}
        members |= {f"{number}.cls": label.encode()}
    (tmp_path / "0.tar").write_bytes(tar_of(members))
    table = pa.table({"image": images, "caption": ["words"] * 2, "label": labels})
    pq.write_table(table, tmp_path / "0.parquet")
    places = {"folder": "folder", "0.tar": "webdataset", "0.parquet": "parquet"}
    for name, kind in places.items():
        plain = SourceConfig(url=str(tmp_path / name), format=kind)
        assert captions(plain) == ["words", "words"], kind
        assert captions(plain.model_copy(update={"caption": "label"})) == labels, kind


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (" cat\n", "cat"), (7, "7"), (-1, "-1"), (3.0, "3"), (0.5, "0.5"), (True, "true"),
        ("", ""), (None, ""), (["cat"], ""), ({}, ""), (float("nan"), ""), (float("inf"), ""),
        (10**400, "1" + "0" * 400),
    ],
)  # fmt: skip
def test_a_value_is_a_caption_if_it_is_text_or_a_number(value, words):
    assert words_of(value) == words


def test_a_record_without_the_field_keeps_the_caption_it_has(tar):
    members = {
        "a.png": b"1", "a.txt": b"own", "a.json": b'{"species": 4, "caption": "json"}',
        "b.png": b"1", "b.txt": b"own", "b.json": b'{"species": null}',
        "c.png": b"1", "c.json": b'{"species": [], "caption": "json"}',
    }  # fmt: skip
    assert tar(members, "species") == ["4", "own", "json"]
    assert tar(members, None) == ["own", "own", "json"]


def test_a_cls_member_is_the_label_where_the_json_has_none(tar):
    members = {
        "a.png": b"1", "a.cls": b"12\n",
        "b.png": b"1", "b.cls": b"12", "b.json": b'{"label": 3}',
        "c.png": b"1", "c.cls": b"siamese cat", "c.json": b'{"label": null}',
    }  # fmt: skip
    assert tar(members, "label") == ["12", "3", "siamese cat"]
    assert tar(members, None) == ["", "", ""]


@pytest.mark.parametrize(
    "hostile", [b"", b" \n", b"\xff\xfe", b"a\x00b", b"\x80\x04K\x03.", b"a\nb"]
)
def test_a_cls_member_that_is_no_name_is_as_good_as_absent(tar, hostile):
    assert tar({"a.png": b"1", "a.txt": b"own", "a.cls": hostile}, "label") == ["own"]


def test_parts_have_another_name_for_each_field_and_the_old_one_without(tmp_path):
    (tmp_path / "0.tar").write_bytes(tar_of({"a.png": b"1"}))
    plain = SourceConfig(url=str(tmp_path / "0.tar"))
    by_field = [plain, *(plain.model_copy(update={"caption": field}) for field in ("a", "b"))]
    names = [part.name for one in by_field for part in source.parts((one,))]
    assert len(set(names)) == 3
    assert names[0] == source.FORMATS["webdataset"].parts(plain.url)[0].name


def test_a_source_without_the_field_is_recorded_as_it_always_was():
    assert "caption" not in SourceConfig(url="x").model_dump()
    assert (
        json.loads(SourceConfig(url="x", caption="label").model_dump_json())["caption"] == "label"
    )


def test_an_empty_name_is_refused():
    with pytest.raises(ValidationError, match="caption"):
        SourceConfig(url="x", caption="")
