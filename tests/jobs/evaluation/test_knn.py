"""`eval knn` from weights and sets to results.json."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.evaluation import knn
from jobs.evaluation.knn import KnnConfig
from pipeline.assess.proportions import wilson
from pipeline.format.errors import HeadraceError
from pipeline.format.shards import of_snapshot
from tests.jobs.evaluation import small
from trainer import extracting
from trainer.frozen import open_frozen
from trainer.pixels import normalise
from trainer.stream.ordered import ordered
from trainer.stream.source import Source

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return small.export(tmp_path_factory.mktemp("weights") / "a", seed=1)


@pytest.fixture(scope="module")
def sets(tmp_path_factory, demo_data):
    folder = tmp_path_factory.mktemp("sets")
    return {
        "train": small.labelled(folder / "train", demo_data, slice(0, 18)),
        "test": small.labelled(folder / "test", demo_data, slice(18, 30)),
    }


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(extracting, "CHUNK", 8)


def fields(folder, weights, sets, **changes) -> dict:
    urls = {name: snapshot.url for name, snapshot in sets.items()}
    plain = {"k": [1, 5, 10], "layers": [0, 2], "batch": 4, "threads": 1}
    return {"evaluation": str(folder), "weights": weights} | urls | plain | changes


def run(*args, **changes) -> dict:
    return knn.run(KnnConfig.model_validate(fields(*args, **changes)))


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def literal_features(weights, snapshot, layers):
    """By numpy, one image after the other, and the captions."""
    frozen, source = open_frozen(weights, CPU), Source("set", of_snapshot(snapshot))
    found, captions = [], []
    for batch in ordered(source, 24, 1):
        blocks = frozen.windows(normalise(batch.images, CPU), [(n,) for n in layers])
        mean = np.mean([block.numpy()[0] for block in blocks], axis=(0, 1))
        found.append(mean / np.linalg.norm(mean))
        captions += batch.captions
    return np.array(found), captions


def literal_right(weights, sets, k, layers=(0, 2)):
    (keys, labels), (queries, wanted) = (
        literal_features(weights, sets[name], layers) for name in ("train", "test")
    )
    right = 0
    for cosines, own in zip(queries @ keys.T, wanted, strict=True):
        votes = dict.fromkeys(small.CLASSES, 0.0)
        for place in np.argsort(-cosines)[:k]:
            votes[labels[place]] += np.exp(cosines[place] / 0.07)
        right += max(votes, key=votes.get) == own
    return right


def test_the_figures_are_those_of_one_image_after_the_other(tmp_path, weights, sets):
    results = run(tmp_path / "e", weights, sets)
    for k in (1, 5, 10):
        right = literal_right(weights, sets, k)
        assert 0 < right < 12
        assert results["figures"]["k"][str(k)]["top1"] == wilson(right, 12)._asdict()
    assert results["figures"]["k"]["10"]["top5"]["value"] == 1, "of three classes, all had a vote"
    assert results["kind"] == "knn"
    assert results["classes"] == 3
    assert results["data"]["train"] == {"snapshot": sets["train"].url, "samples": 18}
    assert results["data"]["test"] == {"snapshot": sets["test"].url, "samples": 12}
    assert results["weights"]["sha256"] == open_frozen(weights, CPU).told["sha256"]
    assert json.loads((tmp_path / "e" / "results.json").read_text()) == results


def test_an_image_finds_itself_and_is_told_right(tmp_path, weights, sets):
    same = {"train": sets["train"], "test": sets["train"]}
    assert run(tmp_path / "e", weights, same)["figures"]["k"]["1"]["top1"]["value"] == 1


def test_a_second_run_makes_nothing_and_the_same_bytes_elsewhere(
    tmp_path, weights, sets, monkeypatch
):
    run(tmp_path / "one", weights, sets)
    run(tmp_path / "two", weights, sets)
    one = files(tmp_path / "one")
    assert one == files(tmp_path / "two")
    assert len(one) == 3 + 2 + 1
    monkeypatch.setattr(extracting, "_batches", None)
    results = run(tmp_path / "one", weights, sets, k=[2])
    assert list(results["figures"]["k"]) == ["2"]


def test_other_weights_layers_or_attention_make_features_of_their_own(tmp_path, weights, sets):
    other = small.export(tmp_path / "b", seed=2)
    folder, seen = tmp_path / "e", []
    for named, changes in (
        (weights, {}),
        (other, {}),
        (weights, {"layers": "last"}),
        (weights, {"attention": "causal"}),
    ):
        run(folder, named, sets, **changes)
        seen.append(set(files(folder / "features")))
    assert [len(one) for one in seen] == [5, 10, 15, 20]
    moved = small.export(tmp_path / "moved", seed=1)
    run(folder, moved, sets)
    assert set(files(folder / "features")) == seen[-1], "the same weights, wherever they lie"


def test_too_many_neighbours_are_left_out_with_a_word(tmp_path, weights, sets, capsys):
    results = run(tmp_path / "e", weights, sets, k=[50, 5, 18, 19])
    assert list(results["figures"]["k"]) == ["5", "18"]
    assert "no vote of 19, 50: the training set has 18 images" in capsys.readouterr().err
    with pytest.raises(HeadraceError, match="k: 20 is more than the 18 images of train"):
        run(tmp_path / "e", weights, sets, k=[20])


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("cat", "yak"), "test: 1 of its classes are none of train's 3, as 'yak'"),
        (("cat", ""), "test: sample 1 has no caption, which should be its class"),
    ],
)
def test_classes_that_do_not_fit_are_refused(tmp_path, weights, sets, demo_data, classes, message):
    odd = small.labelled(tmp_path / "odd", demo_data, slice(0, 5), classes)
    with pytest.raises(HeadraceError, match=message):
        run(tmp_path / "e", weights, sets | {"test": odd})


def test_weights_that_are_not_finite_give_no_features(tmp_path, sets):
    model = small.model_of(1)
    model.trunk.blocks[0].mlp.fc1.weight.data[0, 0] = torch.nan
    with pytest.raises(HeadraceError, match="its features are not all finite"):
        run(tmp_path / "e", small.export(tmp_path / "w", model=model), sets)


def test_blocks_that_are_not_there_are_refused(tmp_path, weights, sets):
    with pytest.raises(HeadraceError, match="layers: 3 is no block of a trunk of 3"):
        run(tmp_path / "e", weights, sets, layers=[2, 3])


def test_a_run_that_failed_goes_on_and_leaves_the_bytes_of_one_that_did_not(
    tmp_path, weights, sets, monkeypatch
):
    run(tmp_path / "whole", weights, sets)
    whole, written = extracting._write, []

    def full(url, *rest):
        if len(written) == 4:  # of the five: all of the training set, half of the other
            raise HeadraceError("the disk is full")
        written.append(url)
        whole(url, *rest)

    monkeypatch.setattr(extracting, "_write", full)
    with pytest.raises(HeadraceError, match="full"):
        run(tmp_path / "cut", weights, sets)
    assert "results.json" not in files(tmp_path / "cut")
    written.clear()
    run(tmp_path / "cut", weights, sets)
    assert len(written) == 1
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
