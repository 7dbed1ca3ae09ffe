"""ILSVRC2012 as a pool: the train tar of tars, the val tar with its labels, class folders."""

import io
from pathlib import Path

import pytest

from pipeline.format.errors import HeadraceError
from pipeline.format.tars import BLOCK
from pipeline.pool import folder, imagenet, source, validation, webdataset
from pipeline.pool.source import SourceConfig
from tests.pipeline.making import END, png, tar_of

CAT, DOG, FOX = "n02123045", "n02099601", "n02119789"
"""DOG < FOX < CAT: their order is that of their wnids, whatever the order in which they lie."""


def inner(wnid: str, *numbers: int) -> bytes:
    return tar_of({f"{wnid}_{number}.JPEG": png(number, 16, 16) for number in numbers})


def read(parts, max_bytes: int = 10**6):
    return [row for part in parts for row in source.read(part, max_bytes)]


def told(rows):
    return [(row.key, row.caption, row.meta.get("class_index")) for row in rows]


# The train tar


@pytest.fixture
def train(tmp_path) -> Path:
    path = tmp_path / "ILSVRC2012_img_train.tar"
    path.write_bytes(
        tar_of(
            {
                f"{CAT}.tar": inner(CAT, 1, 2),
                f"{DOG}.tar": inner(DOG, 3),
                f"{FOX}.tar": inner(FOX, 4, 5),
            }
        )
    )
    return path


def test_each_inner_tar_is_a_part_whose_images_lie_in_the_outer_one(train):
    parts = imagenet.parts(str(train))
    assert [part.files for part in parts] == [(f"{CAT}.tar",), (f"{DOG}.tar",), (f"{FOX}.tar",)]
    assert [part.end - part.begin for part in parts] == [part.nbytes for part in parts]
    rows = read(parts)
    assert told(rows) == [
        (f"{CAT}_1", CAT, 2),
        (f"{CAT}_2", CAT, 2),
        (f"{DOG}_3", DOG, 0),
        (f"{FOX}_4", FOX, 1),
        (f"{FOX}_5", FOX, 1),
    ]
    data = train.read_bytes()
    for number, row in enumerate(rows, 1):
        wanted = png(number, 16, 16)
        assert (row.source, row.image, row.error) == (f"file://{train}", wanted, None)
        assert row.meta["label"] == row.caption
        assert data[row.offset : row.offset + row.nbytes] == wanted
        assert imagenet.fetch(row.source, row.key, row.offset, row.nbytes) == wanted
    assert len({row.uid for row in rows}) == 5


def test_parts_come_in_the_order_in_which_they_lie(train):
    found = source.parts((SourceConfig(url=str(train), format="imagenet"),))
    assert [part.begin for part in found] == sorted(part.begin for part in found)
    assert [row.key[:9] for row in read(found)] == [CAT, CAT, DOG, FOX, FOX]
    assert len({part.name for part in found}) == 3


def test_all_thousand_classes_have_their_usual_numbers(tmp_path):
    wnids = [f"n{number:08d}" for number in range(7000, 1000, -6)]
    path = tmp_path / "train.tar"
    path.write_bytes(tar_of({f"{wnid}.tar": inner(wnid, 1)[:1024] + END for wnid in wnids}))
    parts = imagenet.parts(str(path))
    assert [row.meta["class_index"] for row in read(parts)] == list(range(999, -1, -1))


def test_an_inner_tar_that_is_cut_costs_its_own_rest_alone(tmp_path):
    whole = inner(CAT, 1, 2)
    second = BLOCK + -(-len(png(1, 16, 16)) // BLOCK) * BLOCK
    path = tmp_path / "train.tar"
    path.write_bytes(tar_of({f"{CAT}.tar": whole[: second + 600], f"{DOG}.tar": inner(DOG, 3)}))
    one, bad, three = read(imagenet.parts(str(path)))
    assert (one.key, one.error) == (f"{CAT}_1", None)
    assert bad.error == f"archive_damaged: the archive ends inside '{CAT}_2.JPEG'"
    assert (bad.key, bad.offset, bad.nbytes) == ("", BLOCK + second, 600)
    assert (three.key, three.error) == (f"{DOG}_3", None)


def test_the_rest_of_an_outer_tar_that_is_cut_is_one_row(tmp_path, train):
    data = train.read_bytes()
    (_, dog, fox) = imagenet.parts(str(train))
    for cut, kept in ((fox.begin + 100, 3), (fox.begin - 300, 3), (dog.begin + 5, 2)):
        path = tmp_path / "cut.tar"
        path.write_bytes(data[:cut])
        *rows, bad = read(imagenet.parts(str(path)))
        assert [row.error for row in rows] == [None] * kept
        begin = (fox if kept == 3 else dog).begin - BLOCK
        assert (bad.key, bad.offset, bad.nbytes) == ("", begin, cut - begin)
        assert bad.error.startswith("archive_damaged: ")


@pytest.mark.parametrize("data", [b"", b"<html>404</html>"])
def test_a_file_that_is_no_tar_is_one_row(tmp_path, data):
    (tmp_path / "0.tar").write_bytes(data)
    (row,) = read(imagenet.parts(str(tmp_path / "0.tar")))
    assert (row.offset, row.nbytes, row.caption) == (0, len(data), "")
    assert row.error.startswith("archive_damaged: ")


def test_listing_a_train_tar_reads_its_headers_alone(train, monkeypatch):
    pieces, open_scattered = [], imagenet.open_scattered

    class Counting(io.BytesIO):
        def read(self, count=-1):
            pieces.append(count)
            return super().read(count)

    def opened(url, piece):
        assert piece <= 1 << 16
        return Counting(open_scattered(url, piece).read())

    monkeypatch.setattr(imagenet, "open_scattered", opened)
    assert len(imagenet.parts(str(train))) == 3
    read_bytes = sum(count for count in pieces if count <= BLOCK)
    assert read_bytes <= 20 * BLOCK


# Tars of one class


def test_tars_of_single_classes_are_labelled_by_their_images_else_their_names(tmp_path):
    (tmp_path / f"{FOX}.tar").write_bytes(inner(FOX, 1))
    (tmp_path / f"{DOG}.tar").write_bytes(tar_of({"odd.JPEG": b"1", "odd.txt": b"no caption"}))
    parts = imagenet.parts(str(tmp_path / "n*.tar"))
    assert told(read(parts)) == [("odd", DOG, 0), (f"{FOX}_1", FOX, 1)]


def test_images_of_no_known_class_have_no_label(tmp_path):
    (tmp_path / "test.tar").write_bytes(tar_of({"ILSVRC2012_test_00000001.JPEG": b"1"}))
    (row,) = read(imagenet.parts(str(tmp_path / "test.tar")))
    assert (row.caption, row.meta, row.error) == ("", {}, None)


# Validation


@pytest.fixture
def labels(monkeypatch) -> bytes:
    """The labels of a validation set of six images."""
    monkeypatch.setattr(validation, "IMAGES", 6)
    return "\n".join([FOX, DOG, CAT] * 2).encode()


def val(*numbers: int) -> dict[str, bytes]:
    return {f"ILSVRC2012_val_{number:08d}.JPEG": png(number, 16, 16) for number in numbers}


def test_the_val_tar_takes_its_labels_from_the_file_beside_it(tmp_path, labels):
    (tmp_path / "val_wnids.txt").write_bytes(labels)
    path = tmp_path / "ILSVRC2012_img_val.tar"
    path.write_bytes(tar_of(val(3, 1, 5, 7)))
    (part,) = imagenet.parts(str(path))
    rows = read([part])
    assert [(row.caption, row.meta.get("class_index")) for row in rows] == [
        (CAT, 2),
        (FOX, 1),
        (DOG, 0),
        ("", None),
    ]
    assert imagenet.fetch(rows[0].source, "", rows[0].offset, rows[0].nbytes) == png(3, 16, 16)


def test_validation_images_in_one_folder_take_their_labels_from_it(tmp_path, labels, monkeypatch):
    monkeypatch.setattr(folder, "SLICE", 2)
    for name, data in {**val(1, 2, 3), "val_wnids.txt": labels}.items():
        (tmp_path / name).write_bytes(data)
    parts = imagenet.parts(str(tmp_path))
    assert [len(list(source.read(part, 10**6))) for part in parts] == [2, 1]
    assert [(row.caption, row.meta["class_index"]) for row in read(parts)] == [
        (FOX, 1),
        (DOG, 0),
        (CAT, 2),
    ]


def test_validation_images_in_class_folders_need_no_labels(tmp_path):
    for name, data in val(1).items():
        (tmp_path / DOG).mkdir()
        (tmp_path / DOG / name).write_bytes(data)
    assert told(read(imagenet.parts(str(tmp_path)))) == [
        (f"{DOG}/ILSVRC2012_val_00000001.JPEG", DOG, 0)
    ]


def test_validation_images_without_labels_are_refused_with_the_fix(tmp_path):
    path = tmp_path / "val.tar"
    path.write_bytes(tar_of(val(1)))
    with pytest.raises(HeadraceError, match=r"put one of val_wnids\.txt, .* beside them"):
        imagenet.parts(str(path))


def test_a_part_is_another_one_when_its_labels_change(tmp_path, labels):
    path = tmp_path / "val.tar"
    path.write_bytes(tar_of(val(1)))
    names = set()
    for text in (labels, labels + b"\n"):
        (tmp_path / "val_wnids.txt").write_bytes(text)
        names.add(imagenet.parts(str(path))[0].name)
    assert len(names) == 2


# Class folders


def test_class_folders_have_the_usual_order_in_every_slice(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "SLICE", 2)
    for number, wnid in enumerate((CAT, CAT, DOG, FOX)):
        path = tmp_path / "train" / wnid / f"{wnid}_{number}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number, 16, 16))
    parts = imagenet.parts(str(tmp_path))
    assert [len(part.files) for part in parts] == [2, 2]
    rows = read(parts)
    assert [(row.caption, row.meta) for row in rows] == [
        (wnid, {"label": wnid, "class_index": number})
        for wnid, number in ((DOG, 0), (FOX, 1), (CAT, 2), (CAT, 2))
    ]
    for row in rows:
        assert imagenet.fetch(row.source, row.key, 0, row.nbytes) == row.image


def test_another_class_changes_the_numbers_and_so_the_parts(tmp_path):
    (tmp_path / CAT).mkdir()
    (tmp_path / CAT / "1.JPEG").write_bytes(b"1")
    (before,) = imagenet.parts(str(tmp_path))
    (tmp_path / f"{CAT}.part.name").mkdir()
    assert imagenet.parts(str(tmp_path)) == [before]
    (tmp_path / DOG).mkdir()
    (tmp_path / DOG / "1.JPEG").write_bytes(b"1")
    (after,) = imagenet.parts(str(tmp_path))
    assert (before.classes, after.classes) == ((CAT,), (DOG, CAT))
    assert before.name != after.name


def test_one_tar_read_by_two_formats_is_two_parts(tmp_path):
    (tmp_path / f"{CAT}.tar").write_bytes(inner(CAT, 1))
    url = str(tmp_path / f"{CAT}.tar")
    assert imagenet.parts(url)[0].name != webdataset.parts(url)[0].name


def test_a_bad_image_is_a_row_like_any_other(tmp_path):
    (tmp_path / "0.tar").write_bytes(tar_of({f"{CAT}_1.JPEG": b"x" * 11, f"{CAT}_2.txt": b""}))
    big, none = read(imagenet.parts(str(tmp_path / "0.tar")), max_bytes=10)
    assert (big.error, big.caption) == ("too_many_bytes: 11 is over 10", CAT)
    assert none.error == "no_image: the sample has only txt"
