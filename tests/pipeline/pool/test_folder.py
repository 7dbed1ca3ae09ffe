"""Class folders as a pool."""

import os
from pathlib import Path

import pytest

from pipeline.format.errors import HeadraceError
from pipeline.pool import folder, source
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
