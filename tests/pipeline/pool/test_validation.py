"""The labels of ImageNet's validation images, from the files that people have."""

import io
import sys
import tarfile

import numpy as np
import pytest

from pipeline.format.errors import HeadraceError
from pipeline.pool import validation

WNIDS = ["n02119789", "n02100735", "n02110185"]
DEVKIT = "ILSVRC2012_devkit_t12"


@pytest.fixture(autouse=True)
def three_images(monkeypatch):
    monkeypatch.setattr(validation, "IMAGES", 3)


@pytest.fixture
def read(tmp_path):
    """The labels in a file of this name."""

    def read(name: str, data: bytes) -> dict[int, str]:
        (tmp_path / name).write_bytes(data)
        return validation.read(validation.find(f"file://{tmp_path}").url)

    return read


def test_a_number_is_found_in_every_name_of_a_validation_image():
    names = ["ILSVRC2012_val_00000293", "./ILSVRC2012_val_00050000.JPEG", "val/x.JPEG"]
    assert [validation.number(name) for name in names] == [293, 50_000, 0]
    assert validation.number("ILSVRC2012_val_000002931") == 0


def test_one_wnid_a_line(read):
    text = "\r\n".join(WNIDS) + "\n"
    assert read("val_wnids.txt", text.encode()) == dict(enumerate(WNIDS, 1))


def test_kaggles_solution_names_images_in_any_order(read):
    rows = [f"ILSVRC2012_val_0000000{n},{WNIDS[n - 1]} 1 2 3 4 n0 5 6 7 8 " for n in (2, 3, 1)]
    text = "\n".join(["ImageId,PredictionString", *rows, ""])
    assert read("LOC_val_solution.csv", text.encode()) == dict(enumerate(WNIDS, 1))


def test_the_first_file_of_the_list_is_taken(read, tmp_path):
    (tmp_path / "LOC_val_solution.csv").write_text("broken")
    assert read("val_wnids.txt", " ".join(WNIDS).encode())[2] == WNIDS[1]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("val_wnids.txt", b"", "image 1 has none"),
        ("val_wnids.txt", b"n02119789 n02119789", "image 3 has none"),
        ("val_wnids.txt", b"n02119789 cat n02119789", "image 2 has none"),
        ("val_wnids.txt", b"n02119789 " * 4, "it tells of 4"),
        ("val_wnids.txt", b"\xff", "not what its name says"),
        ("LOC_val_solution.csv", b"ImageId\nILSVRC2012_val_00000001\n", "not what its name says"),
        ("LOC_val_solution.csv", b"a,b\nc,d\n", "not what its name says"),
    ],
)
def test_labels_that_do_not_fit_are_refused_by_name(read, name, data, words):
    with pytest.raises(HeadraceError, match=f"{name}: .*{words}"):
        read(name, data)


def devkit(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"{DEVKIT}/data/{name.replace('__', '.')}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_the_devkit_without_scipy_is_refused_with_the_fix(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(HeadraceError, match=r"needs scipy: `pip install scipy`, or put val_wnids"):
        read(f"{DEVKIT}.tar.gz", devkit())


def test_the_devkit_maps_its_numbers_to_wnids(read):
    mat = pytest.importorskip("scipy.io")
    fields = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    synsets = np.empty((4, 1), fields)
    for row, (number, wnid) in enumerate(zip((2, 3, 1, 1001), [*WNIDS, "n00001740"], strict=True)):
        synsets[row, 0] = (number, wnid, "some words")
    sink = io.BytesIO()
    mat.savemat(sink, {"synsets": synsets}, do_compression=True)
    files = {"ILSVRC2012_validation_ground_truth__txt": b"1\n2\n3\n", "meta__mat": sink.getvalue()}
    assert read(f"{DEVKIT}.tar.gz", devkit(**files)) == {1: WNIDS[2], 2: WNIDS[0], 3: WNIDS[1]}
    for broken in (b"", b"no gzip", devkit(), devkit(**{**files, "meta__mat": b"x"})):
        with pytest.raises(HeadraceError, match="not what its name says"):
            read(f"{DEVKIT}.tar.gz", broken)
