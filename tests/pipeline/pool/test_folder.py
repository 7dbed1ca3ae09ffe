"""Folders of images as a pool."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.format.errors import HeadraceError
from pipeline.pool import folder, source
from pipeline.pool.sample import MAX_TEXT_BYTES
from pipeline.pool.source import SourceConfig
from tests.pipeline.making import png


def fill(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number, 16, 16))


def test_images_come_in_the_order_of_their_paths_with_their_class(tmp_path):
    fill(tmp_path, "dog/2.jpg", "cat/b/1.PNG", "dog/10.webp", "cat/a.jpeg", "top.gif")
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    (part,) = folder.parts(str(tmp_path))
    rows = list(source.read(part, 10**6))
    assert [row.key for row in rows] == [
        "cat/a.jpeg",
        "cat/b/1.PNG",
        "dog/10.webp",
        "dog/2.jpg",
        "top.gif",
    ]
    assert [row.caption for row in rows] == ["cat", "cat", "dog", "dog", ""]
    assert [row.meta for row in rows] == [{"label": "cat"}] * 2 + [{"label": "dog"}] * 2 + [{}]
    for row in rows:
        wanted = (tmp_path / row.key).read_bytes()
        assert (row.image, row.nbytes, row.offset, row.error) == (wanted, len(wanted), 0, None)
        assert row.source == f"file://{tmp_path}"
        assert folder.fetch(row.source, row.key, row.offset, row.nbytes) == wanted
    assert len({row.uid for row in rows}) == 5


@pytest.mark.parametrize("label", ["c#", "what?", "a [1] {2..3} *", "é", "50%"])
def test_a_class_may_have_any_name(tmp_path, label):
    fill(tmp_path, f"{label}/1.png")
    (part,) = folder.parts(str(tmp_path))
    (row,) = source.read(part, 10**6)
    assert (row.caption, row.error) == (label, None)
    assert folder.fetch(row.source, row.key, 0, row.nbytes) == png(0, 16, 16)


def test_a_name_that_is_no_utf8_is_a_row_with_its_reason(tmp_path):
    fill(tmp_path, "cat/1.png")
    os.rename(tmp_path / "cat" / "1.png", os.fsencode(tmp_path / "cat") + b"/caf\xe9.png")
    (part,) = folder.parts(str(tmp_path))
    (row,) = source.read(part, 10**6)
    assert row.error == "unreadable_file: its name is not UTF-8; rename it"
    assert row.image == b""


def test_a_folder_is_cut_into_slices_whose_names_follow_their_files(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "SLICE", 3)
    fill(tmp_path, *(f"c/{number}.png" for number in range(7)))
    before = folder.parts(str(tmp_path))
    assert [len(part.files) for part in before] == [3, 3, 1]
    assert [file for part in before for file in part.files] == [f"c/{n}.png" for n in range(7)]
    assert sum(part.nbytes for part in before) == sum(
        f.stat().st_size for f in tmp_path.glob("c/*")
    )
    os.utime(tmp_path / "c" / "4.png", (5, 5))
    after = folder.parts(str(tmp_path))
    assert [a.name == b.name for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_slices_of_one_folder_stay_in_order_among_sources(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "SLICE", 2)
    fill(tmp_path, *(f"c/{number}.png" for number in range(5)))
    config = SourceConfig(url=str(tmp_path), format="folder")
    found = source.parts((config, config))
    assert [file for part in found for file in part.files] == [f"c/{n}.png" for n in range(5)]


def test_a_file_that_is_gone_when_it_is_read_is_a_row_with_its_reason(tmp_path):
    fill(tmp_path, "c/1.png", "c/2.png")
    (part,) = folder.parts(str(tmp_path))
    (tmp_path / "c" / "1.png").unlink()
    one, two = source.read(part, 10**6)
    assert one.error.startswith("unreadable_file: file://")
    assert "c/1.png: no such file" in one.error
    assert two.error is None


def test_a_file_over_the_limit_is_a_row_with_its_reason(tmp_path):
    fill(tmp_path, "c/1.png")
    size = (tmp_path / "c" / "1.png").stat().st_size
    (part,) = folder.parts(str(tmp_path))
    (row,) = source.read(part, size - 1)
    assert (row.error, row.image) == (f"too_many_bytes: more than {size - 1}", b"")
    (row,) = source.read(part, size)
    assert row.error is None


@pytest.mark.parametrize("make", [Path.mkdir, lambda _: None])
def test_a_folder_without_images_is_named(tmp_path, make):
    make(tmp_path / "empty")
    with pytest.raises(HeadraceError, match=r"/empty: no (images below this|such) folder; check"):
        folder.parts(str(tmp_path / "empty"))


# Captions


def captions(root: Path) -> dict[str, str]:
    return {row.key: row.caption for part in folder.parts(str(root)) for row in read(part)}


def read(part, max_bytes: int = 10**6):
    return list(source.read(part, max_bytes))


def test_a_caption_comes_from_the_text_file_else_the_metadata_else_the_class(tmp_path):
    fill(tmp_path, "cat/1.png", "cat/2.png", "cat/3.v1.png", "cat/4.png")
    (tmp_path / "cat" / "1.txt").write_text(" from the text\n")
    (tmp_path / "cat" / "3.v1.txt").write_bytes(b"caf\xe9")
    (tmp_path / "cat" / "4.txt").write_text("\n")
    (tmp_path / "cat" / "metadata.jsonl").write_text(
        '{"file_name": "1.png", "text": "from the metadata"}\n'
        '{"file_name": "2.png", "text": "from the metadata"}\n'
    )
    assert captions(tmp_path) == {
        "cat/1.png": "from the text",
        "cat/2.png": "from the metadata",
        "cat/3.v1.png": "caf\ufffd",
        "cat/4.png": "cat",
    }


def test_what_the_metadata_tells_goes_to_the_record_and_may_name_the_uid(tmp_path):
    fill(tmp_path, "cat/1.png")
    record = {"file_name": "1.png", "label": "tabby", "uid": "0" * 31 + "A", "n": 3}
    (tmp_path / "cat" / "metadata.jsonl").write_text(json.dumps(record))
    (row,) = read(folder.parts(str(tmp_path))[0])
    assert (row.caption, row.uid) == ("tabby", "0" * 31 + "a")
    assert row.meta == {"label": "tabby", "uid": "0" * 31 + "A", "n": 3}


def test_two_images_of_one_name_share_their_text(tmp_path):
    fill(tmp_path, "a.jpg", "a.png")
    (tmp_path / "a.txt").write_text("both")
    assert captions(tmp_path) == {"a.jpg": "both", "a.png": "both"}


def test_a_text_that_is_gone_by_now_is_as_good_as_none(tmp_path):
    fill(tmp_path, "cat/1.png")
    (tmp_path / "cat" / "1.txt").write_text("words")
    (part,) = folder.parts(str(tmp_path))
    (tmp_path / "cat" / "1.txt").unlink()
    assert [(row.caption, row.error) for row in read(part)] == [("cat", None)]


def test_texts_beyond_the_limit_are_cut(tmp_path):
    fill(tmp_path, "1.png")
    (tmp_path / "1.txt").write_text("x" * (MAX_TEXT_BYTES + 5))
    assert len(captions(tmp_path)["1.png"]) == MAX_TEXT_BYTES


def test_a_part_is_another_one_when_what_tells_of_its_images_changes(tmp_path):
    fill(tmp_path, "cat/1.png")
    names = {folder.parts(str(tmp_path))[0].name}
    for name in ("cat/1.txt", "metadata.jsonl", "cat/other.txt"):
        (tmp_path / name).write_text("{}")
        names.add(folder.parts(str(tmp_path))[0].name)
    assert len(names) == 3


def test_each_slice_has_its_own_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "SLICE", 2)
    fill(tmp_path, *(f"{number}.png" for number in range(5)))
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(f"words {number}")
    parts = folder.parts(str(tmp_path))
    assert [part.files for part in parts] == [
        ("0.png", "1.png", "0.txt", "1.txt"),
        ("2.png", "3.png", "2.txt", "3.txt"),
        ("4.png", "4.txt"),
    ]
    assert captions(tmp_path) == {f"{number}.png": f"words {number}" for number in range(5)}


# Stores


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionResetError("reset by the store"),
        TimeoutError("timed out"),
        OSError(errno.EIO, "input/output error"),
        OSError("500 internal error"),
    ],
)
@pytest.mark.parametrize("name", ["1.png", "1.txt"])
def test_a_store_that_fails_for_now_is_no_row(tmp_path, monkeypatch, failure, name):
    fill(tmp_path, "cat/1.png")
    (tmp_path / "cat" / "1.txt").write_text("words")
    (part,) = folder.parts(str(tmp_path))
    whole = LocalFileSystem.cat_file

    def cat_file(self, path, **options):
        if path.endswith(name):
            raise failure
        return whole(self, path, **options)

    monkeypatch.setattr(LocalFileSystem, "cat_file", cat_file)
    with pytest.raises(HeadraceError, match=rf"cat/{name}: the store cannot be read"):
        read(part)
    monkeypatch.undo()
    assert [row.error for row in read(part)] == [None]


def test_a_file_that_its_own_disk_does_not_give_is_a_row_and_a_remote_refusal_is_not(
    tmp_path, monkeypatch
):
    fill(tmp_path, "1.png")
    (part,) = folder.parts(str(tmp_path))

    def refuse(self, path, **options):
        raise PermissionError(errno.EACCES, "permission denied")

    monkeypatch.setattr(LocalFileSystem, "cat_file", refuse)
    (row,) = read(part)
    assert row.error.startswith("unreadable_file: ")
    monkeypatch.setattr(MemoryFileSystem, "cat_file", refuse)
    with pytest.raises(HeadraceError, match="reading is not allowed"):
        read(replace(part, source="memory://pool"))


def test_a_link_to_itself_is_a_row_with_its_reason(tmp_path):
    fill(tmp_path, "2.png")
    (tmp_path / "1.png").symlink_to("1.png")
    one, two = read(folder.parts(str(tmp_path))[0])
    assert one.error.startswith("unreadable_file: ")
    assert two.error is None
