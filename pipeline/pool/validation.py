"""The classes of ImageNet's validation images, which the val tar itself does not tell.

Their wnids are read from the first of these that lies beside the tar (or in the flat folder):

    val_wnids.txt                    one wnid a line, of images 1 to 50,000
    LOC_val_solution.csv             as Kaggle has it
    ILSVRC2012_devkit_t12.tar.gz     the official one; reading its meta.mat needs scipy
"""

import csv
import importlib
import io
import re
import tarfile
from collections.abc import Callable
from typing import Any

from pipeline.format import address, store
from pipeline.format.errors import HeadraceError

IMAGES = 50_000

_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})(?!\d)")
_WNID = re.compile(r"n\d{8}")
_MAX_BYTES = 64_000_000


def number(name: str) -> int:
    """Which validation image a file name means, from 1; 0 if it is none."""
    match = _NUMBER.search(name)
    return int(match[1]) if match else 0


def find(folder: str) -> store.Stat:
    """The label file in a folder. Raises HeadraceError if there is none."""
    with store.reading(folder):
        names = store.names(folder)
    for name in READERS:
        if name in names:
            return store.stat(address.join(folder, name))
    raise HeadraceError(
        f"{folder}: nothing here tells the classes of the validation images; put one of "
        f"{', '.join(READERS)} beside them"
    )


def read(url: str) -> dict[int, str]:
    """The wnid of each validation image by its number. Raises HeadraceError if any is missing."""
    data = store.read_bytes(url, 0, _MAX_BYTES)
    try:
        labels = READERS[url.rpartition("/")[2]](data)
    except ImportError as error:
        raise HeadraceError(
            f"{url}: reading the devkit needs scipy: `pip install scipy`, or put val_wnids.txt "
            "(one wnid a line) beside the images"
        ) from error
    except Exception as error:  # a broken archive, csv or mat file may raise anything
        raise HeadraceError(f"{url}: not what its name says: {error}") from error
    wrong = [n for n in range(1, IMAGES + 1) if not _WNID.fullmatch(labels.get(n, ""))]
    if wrong or len(labels) != IMAGES:
        where = f"image {wrong[0]} has none" if wrong else f"it tells of {len(labels):,}"
        raise HeadraceError(f"{url}: wanted: a wnid for each of {IMAGES:,} images; {where}")
    return labels


def _lines(data: bytes) -> dict[int, str]:
    return dict(enumerate(data.decode().split(), 1))


def _solution(data: bytes) -> dict[int, str]:
    """Kaggle's `ImageId,PredictionString`; the string is `<wnid> <box> <wnid> <box> …`."""
    rows = csv.DictReader(io.StringIO(data.decode()))
    return {number(row["ImageId"]): row["PredictionString"].split()[0] for row in rows}


def _devkit(data: bytes) -> dict[int, str]:
    """The official devkit: class numbers by image, and what class each number is."""
    mat: Any = importlib.import_module("scipy.io")
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        truth = _member(tar, "data/ILSVRC2012_validation_ground_truth.txt").decode().split()
        meta = _member(tar, "data/meta.mat")
    synsets = mat.loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
    numbers = (int(one) for one in synsets["ILSVRC2012_ID"])
    wnids = dict(zip(numbers, map(str, synsets["WNID"]), strict=True))
    return {image: wnids[int(one)] for image, one in enumerate(truth, 1)}


def _member(tar: tarfile.TarFile, ending: str) -> bytes:
    for info in tar:
        file = tar.extractfile(info) if info.name.endswith(ending) else None
        if file:
            return file.read(_MAX_BYTES)
    raise ValueError(f"it holds no {ending}")


READERS: dict[str, Callable[[bytes], dict[int, str]]] = {
    "val_wnids.txt": _lines,
    "LOC_val_solution.csv": _solution,
    "ILSVRC2012_devkit_t12.tar.gz": _devkit,
}
