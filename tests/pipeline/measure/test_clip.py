"""What scores are named by: the model's content, wherever it lies, and how it is run."""

import shutil

import pytest

from pipeline.format.errors import HeadraceError
from pipeline.measure.clip import ClipConfig, fingerprint, weights_digest
from pipeline.measure.image import ImageConfig
from tests.pipeline.clip import making
from tests.pipeline.clip.making import tiny

IMAGES = ImageConfig()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "model"
    making.config(folder, tiny())
    making.safetensors(folder / "open_clip_model.safetensors", tiny().clip)
    return folder


def test_scores_are_named_by_what_the_model_is_and_not_by_where_it_lies(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "filter.json").write_text("{}")
    one, copy = (ClipConfig(model=f"local-dir:{path}") for path in (folder, tmp_path / "copy"))
    assert fingerprint(one, IMAGES) == fingerprint(copy, IMAGES)
    making.safetensors(tmp_path / "copy" / "open_clip_model.safetensors", tiny(1).clip)
    assert fingerprint(one, IMAGES) != fingerprint(copy, IMAGES)


def test_a_checkpoint_file_is_named_by_its_bytes(tmp_path):
    for name, data in (("weights.pt", b"1"), ("copy.pt", b"1"), ("other.pt", b"2")):
        (tmp_path / name).write_bytes(data)
    weights, copy, other = (
        weights_digest(ClipConfig(model="ViT-B-32", pretrained=str(tmp_path / f"{name}.pt")))
        for name in ("weights", "copy", "other")
    )
    assert weights == copy != other


def test_a_model_that_is_not_there_is_refused_and_the_field_named(tmp_path):
    for model in (f"local-dir:{tmp_path}/nowhere", "ViT-B-32"):
        with pytest.raises(HeadraceError, match=r"^measure\.clip\.model '.*' cannot be loaded: "):
            fingerprint(ClipConfig(model=model), IMAGES)
