"""Labelled sets: made datasets of, however they lie, and their classes without a look at pixels."""

import hashlib
import shutil
from pathlib import Path

import pytest

from jobs import cluster
from jobs.evaluation import sets
from jobs.evaluation.sets import SourceConfig, classes, in_order, labelled, published
from pipeline.format import retired
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience
from pipeline.format.snapshot import read_snapshot
from tests.jobs.evaluation import coloured
from tests.trainer.probing.conftest import COLOURS, PICTURES
from trainer.stream.ordered import held_out, ordered

BROKEN = b"\x89PNG\r\n\x1a\nno more"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, tuple[SourceConfig, str]]:
    """Twelve pictures in each form, some without a class, and the datasets made of them."""
    at = tmp_path_factory.mktemp("sets")
    pictures = PICTURES[:12]
    forms = {
        "folder": coloured.folder(at / "pictures", pictures),
        "webdataset": coloured.tar(at / "0.tar", pictures),
        "parquet": coloured.parquet(at / "0.parquet", pictures),
    }
    forms["unlabelled"] = coloured.folder(at / "unlabelled", pictures[:2])
    (at / "pictures" / "red" / "broken.png").write_bytes(BROKEN)
    (at / "unlabelled" / "astray.png").write_bytes(pictures[3].image)
    sources = {kind: SourceConfig.model_validate(fields) for kind, fields in forms.items()}
    with cluster.session(1):
        urls = {kind: labelled(one, str(at / kind)) for kind, one in sources.items()}
    return {kind: (sources[kind], urls[kind]) for kind in forms}


def labels(url: str) -> set[tuple[str, str]]:
    """Digest and caption of each image, as a training reads them."""
    (batch,) = ordered(held_out(url, Patience()), 32, 12, 0, 1)
    pixels = [hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in batch.images]
    return set(zip(pixels, batch.captions, strict=True))


def test_folders_tars_and_parquet_make_the_same_labelled_images(made):
    urls = [made[kind][1] for kind in ("folder", "webdataset", "parquet")]
    folder, tar, parquet = map(labels, urls)
    assert folder == tar == parquet
    assert len(folder) == 12
    assert {classes(url) for url in urls} == {COLOURS}


def test_what_cannot_be_read_is_left_out_and_counted(made):
    counts = {kind: read_snapshot(url).counts for kind, (_, url) in made.items()}
    assert counts["folder"] == {"kept": 12, "unreadable": 1}
    assert counts["parquet"] == {"kept": 12}


def test_a_set_that_is_made_is_found_made_until_its_source_changes(made, tmp_path):
    source, url = made["folder"]
    dataset = url.partition("/snapshots/")[0]
    assert labelled(source, dataset) == url
    assert published(source, str(tmp_path / "other")) is None
    moved = shutil.copytree(source.url, tmp_path / "moved")
    assert published(source.model_copy(update={"url": str(moved)}), dataset) is None
    by_caption = source.model_copy(update={"caption": "other"})
    assert published(by_caption, dataset) is None


def test_a_dataset_is_used_as_it_is_and_pinned(made):
    _, url = made["folder"]
    dataset = url.partition("/snapshots/")[0]
    assert labelled(dataset, "/nowhere") == labelled(url, "/nowhere") == url


def test_a_retired_dataset_is_refused(made, tmp_path):
    _, url = made["folder"]
    dataset = Path(url.partition("/snapshots/")[0].removeprefix("file://"))
    copy = shutil.copytree(dataset, tmp_path / "copy")
    retired.retire(read_snapshot(str(copy)).url, "00ff")
    with pytest.raises(retired.Retired):
        labelled(str(copy), "/nowhere")


def test_a_folder_of_images_named_as_a_dataset_is_told_how_to_be_one(made):
    source, _ = made["folder"]
    with pytest.raises(HeadraceError, match=r"no snapshot here .*say how they lie: \{url"):
        labelled(source.url, "/nowhere")


def test_images_without_a_class_are_refused_with_the_ways_to_label_them(made):
    _, url = made["unlabelled"]
    with pytest.raises(HeadraceError, match=r"images without a class; .*`caption`") as raised:
        classes(url)
    assert str(raised.value).startswith(url)


def test_classes_are_in_the_order_of_their_numbers_then_of_their_names():
    names = ["dog", "10", "cat", "9", "010", "0", "٣", "", "n01440764", "9" * 5000]
    wanted = ["0", "9", "010", "10", "9" * 5000, "", "cat", "dog", "n01440764", "٣"]
    assert in_order(names) == tuple(wanted)
    assert sets.in_order(reversed(names)) == tuple(wanted)
