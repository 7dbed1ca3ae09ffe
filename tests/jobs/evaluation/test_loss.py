"""`eval loss`: what the validation of the run said, and where in the sequence."""

import json

import numpy as np
import pytest
import torch

from jobs.evaluation import loss
from jobs.evaluation.loss import LossConfig
from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import Mixture, Source, mixture_bytes
from pipeline.format.shards import of_snapshot
from tests.jobs.evaluation import small
from tests.trainer.objective import dense
from tests.trainer.runs import MODEL
from trainer import extracting, metrics
from trainer.config import TrainConfig
from trainer.frozen import open_frozen
from trainer.objective import fixed, prefixes
from trainer.pixels import normalise
from trainer.stream.ordered import ordered
from trainer.stream.source import Source as Opened
from trainer.train import train

CPU = torch.device("cpu")

OBJECTIVES = {"ar": {"order": "spiral"}, "masked": {"kind": "masked"}}


@pytest.fixture(scope="module")
def held_out(tmp_path_factory, demo_data):
    return small.labelled(tmp_path_factory.mktemp("held_out"), demo_data, slice(0, 13))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return small.export(tmp_path_factory.mktemp("weights") / "a", seed=1)


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(extracting, "CHUNK", 8)


def run(folder, weights, data, **changes) -> dict:
    plain = {"batch": 4, "threads": 1}
    fields = {"evaluation": str(folder), "weights": weights, "data": data.url}
    return loss.run(LossConfig.model_validate(fields | plain | changes))


@pytest.fixture(scope="module", params=OBJECTIVES)
def trained(request, held_out, tmp_path_factory):
    """The folder of a run of two steps, validated on the set."""
    folder = tmp_path_factory.mktemp(request.param)
    source = Source("web", held_out.url, 1, held_out.samples)
    (folder / "mixture.json").write_bytes(mixture_bytes(Mixture((source,))))
    config = {
        "run": str(folder / "run"),
        "mixture": str(folder / "mixture.json"),
        "validation": held_out.url,
        "model": MODEL,
        "objective": OBJECTIVES[request.param],
        "stream": {"batch": 8, "lanes": 4, "image_size": 32},
        "steps": 2,
        "threads": 1,
    }
    train(TrainConfig.model_validate(config))
    return folder / "run"


def test_the_means_are_what_the_run_said_of_itself(trained, held_out, tmp_path):
    lines = metrics.read(trained / "metrics.jsonl")
    told = [line["validation"] for line in lines if "validation" in line][-1]
    results = run(tmp_path / "e", str(trained), held_out)
    forms = results["figures"]["forms"]
    assert forms.keys() == told.keys() - {"curve"}
    for name, found in forms.items():
        assert found["mean"]["value"] == pytest.approx(told[name], rel=2e-6)
        assert found["mean"]["low"] < found["mean"]["value"] < found["mean"]["high"]
    assert results["weights"]["step"] == 2
    assert results["data"] == {"test": {"snapshot": held_out.url, "samples": 13}}
    assert json.loads((tmp_path / "e" / "results.json").read_text()) == results


def literal(weights, snapshot):
    """(13, 2, 15) losses of the causal and the prefix form, one image after the other."""
    model = open_frozen(weights, CPU).model
    rows = []
    for batch in ordered(Opened("set", of_snapshot(snapshot)), 24, 1):
        images = normalise(batch.images, CPU)
        row = []
        for prefix in (1, prefix_of(int(batch.samples[0]))):
            predicted = model(images, torch.tensor([prefix]))[0, :-1]
            error = (predicted - dense.normalised(images, 6)[0, 1:]).square().mean(-1)
            row.append([e if p + 1 >= prefix else np.nan for p, e in enumerate(error.tolist())])
        rows.append(row)
    return np.array(rows)


def prefix_of(sample):
    return int(prefixes.independent(fixed.SEED, 0, np.array([sample]), np.array([0]), 16)[0])


def test_places_and_intervals_are_those_of_a_table_of_all_losses(weights, held_out, tmp_path):
    forms = run(tmp_path / "e", weights, held_out)["figures"]["forms"]
    each = literal(weights, held_out)
    for name, table in zip(("causal", "prefix"), each.swapaxes(0, 1), strict=True):
        asked = ~np.isnan(table)
        told = np.array(forms[name]["positions"], float)
        assert told.shape == (15,)
        np.testing.assert_array_equal(~np.isnan(told), asked.any(axis=0))
        some = asked.any(axis=0)
        np.testing.assert_allclose(told[some], np.nanmean(table[:, some], axis=0), rtol=1e-4)
        words = np.random.default_rng(0)
        means = [np.nanmean(table[words.integers(0, 13, 13)]) for _ in range(4000)]
        low, high = np.quantile(means, (0.025, 0.975))
        width = high - low
        assert forms[name]["mean"]["low"] == pytest.approx(low, abs=width / 10)
        assert forms[name]["mean"]["high"] == pytest.approx(high, abs=width / 10)


def test_a_place_that_no_image_was_asked_about_has_no_loss(weights, demo_data, tmp_path):
    one, first = small.labelled(tmp_path / "one", demo_data, slice(0, 1)), prefix_of(0)
    assert 1 < first < 15
    forms = run(tmp_path / "e", weights, one)["figures"]["forms"]
    missing = [loss is None for loss in forms["prefix"]["positions"]]
    assert missing == [place < first for place in range(1, 16)]
    assert None not in forms["causal"]["positions"]


def test_a_second_run_reads_no_image_and_writes_the_same_bytes(
    weights, held_out, tmp_path, monkeypatch
):
    run(tmp_path / "e", weights, held_out)
    first = (tmp_path / "e" / "results.json").read_bytes()
    monkeypatch.setattr(extracting, "_batches", None)
    run(tmp_path / "e", weights, held_out)
    assert (tmp_path / "e" / "results.json").read_bytes() == first


def test_another_head_on_the_same_trunk_is_another_loss(weights, held_out, tmp_path):
    model = small.model_of(1)
    torch.nn.init.zeros_(model.pixel_head.decoder_pred.weight)
    other = small.export(tmp_path / "other", model=model)
    one, two = (run(tmp_path / "e", which, held_out) for which in (weights, other))
    assert one["weights"]["sha256"] == two["weights"]["sha256"], "the trunk is the same"
    assert one["figures"] != two["figures"]
    assert len(list((tmp_path / "e" / "losses").iterdir())) == 2


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"head": False}, "a loss is of a run of ours with its pixel head, and this is a backbone"),
        (
            {"told": False},
            "a loss is of a run of ours, and these weights do not say what they were",
        ),
    ],
)
def test_weights_that_were_asked_nothing_are_refused(held_out, tmp_path, what, message):
    with pytest.raises(HeadraceError, match=message):
        run(tmp_path / "e", small.export(tmp_path / "w", **what), held_out)


def test_a_loss_that_is_not_finite_is_no_place_that_was_not_asked(held_out, tmp_path):
    model = small.model_of(1)
    model.pixel_head.decoder_pred.weight.data[0, 0] = torch.nan
    with pytest.raises(HeadraceError, match="its loss is not finite"):
        run(tmp_path / "e", small.export(tmp_path / "w", model=model), held_out)
