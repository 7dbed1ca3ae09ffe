"""`headrace scaling` on real runs: two sizes, two schedules, and what is read of them."""

import json
from pathlib import Path

import pytest

from jobs.scaling import reading, results, scaling
from jobs.scaling.config import ScalingConfig
from pipeline.format.errors import HeadraceError
from tests.jobs.scaling.made import measured, probed
from tests.jobs.training import make_mixture
from tests.trainer.conftest import read_pictures, write_snapshot
from tests.trainer.runs import MODEL
from trainer import metrics
from trainer.flops import image_flops
from trainer.model.aim import count_parameters
from trainer.model.sizes import ModelConfig

LARGER = MODEL | {"embed_dim": 64, "depth": 3}


@pytest.fixture(scope="module")
def study(tmp_path_factory, demo_data) -> ScalingConfig:
    """Two sizes by two schedules; the results of evaluations are made up."""
    folder = tmp_path_factory.mktemp("scaling")
    pictures = read_pictures(demo_data / "target" / "val-00000.tar")
    train = {
        "mixture": str(make_mixture(folder, demo_data)),
        "validation": write_snapshot(folder / "val", pictures[23:], [8]).url,
        "stream": {"batch": 16, "lanes": 4, "image_size": 32},
        "optimiser": {"lr": 3e-3},
        "validate_every": 4,
        "log_every": 4,
        "threads": 1,
    }
    runs = {
        f"{size}-{steps}": {"model": model, "steps": steps}
        for size, model in (("small", MODEL), ("large", LARGER))
        for steps in (8, 24)
    }
    evaluations = {}
    for number, name in enumerate(runs):
        evaluations[name] = (str(folder / "eval" / name),)
        Path(*evaluations[name]).mkdir(parents=True)
        Path(*evaluations[name], "results.json").write_text(json.dumps(probed(0.1 * number)))
    fields = {"scaling": str(folder / "out"), "train": train, "runs": runs}
    return ScalingConfig.model_validate(fields | {"evaluations": evaluations})


@pytest.mark.slow
def test_sizes_and_schedules_are_run_once_and_drawn_the_same_each_time(study, capsys):
    assert scaling.run(study, dry_run=True) is None
    assert "train for 24 steps" in capsys.readouterr().err
    assert not Path(study.scaling).exists()
    found = scaling.run(study)
    logs = [folder / "metrics.jsonl" for folder in study.folders.values()]
    first = [path.read_bytes() for path in (Path(found.url), Path(found.page), *logs)]
    again = scaling.run(study)
    assert [path.read_bytes() for path in (Path(again.url), Path(again.page), *logs)] == first
    assert json.loads(first[0]) == found.figures

    law = found.figures["law"]
    assert law["pure"]
    assert law["points"] == 4
    assert found.figures["accuracy"][0]["n"] == 4
    for run in found.figures["runs"]:
        last = metrics.read(study.folders[run["run"]] / "metrics.jsonl")[-1]
        assert run["final"]["loss"]["value"] == last["validation"]["causal"]
        assert run["curve"] == last["curve"]
        shape = ModelConfig.model_validate(study.runs[run["run"]]["model"])
        assert run["parameters"]["backbone"] == count_parameters(shape).backbone
        assert run["final"]["flops"] == image_flops(shape).training * 16 * run["steps"]
        assert [one["step"] for one in run["points"]] == [*range(0, run["steps"] + 1, 4)]

    # The same runs, found where they lie: their figures are the same.
    there = {name: {"folder": str(folder)} for name, folder in study.folders.items()}
    fields = {"scaling": f"{study.scaling}-again", "runs": there, "evaluations": study.evaluations}
    read = scaling.run(ScalingConfig.model_validate(fields))
    assert read.figures["runs"] == found.figures["runs"]
    assert read.figures["findings"] == found.figures["findings"]


def test_a_faulty_probe_is_told_before_anything_is_trained(study, tmp_path):
    probe = {"train": "a", "test": "b", "epochs": 1, "steam": {}}
    fields = study.model_dump() | {"scaling": str(tmp_path / "out"), "probe": probe}
    with pytest.raises(HeadraceError, match="steam"):
        scaling.run(ScalingConfig.model_validate(fields))
    assert not (tmp_path / "out").exists()


def test_what_is_no_run_is_refused_in_one_line(tmp_path):
    with pytest.raises(HeadraceError, match="no run of `headrace train`"):
        reading.read("a", tmp_path)
    (tmp_path / "config.json").write_text('{"pairs": "x"}')
    with pytest.raises(HeadraceError, match="not the config of a training of AIM") as raised:
        reading.read("a", tmp_path)
    assert "\n" not in str(raised.value)


def test_a_run_without_a_validation_says_what_to_name(tmp_path):
    fields = {
        "run": str(tmp_path),
        "mixture": "web.json",
        "model": MODEL,
        "stream": {"batch": 16, "lanes": 4, "image_size": 32},
        "steps": 4,
    }
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(HeadraceError, match="name `validation` in the run's config"):
        reading.read("a", tmp_path)


def test_results_of_each_kind_are_read(tmp_path):
    def read(found: dict) -> tuple[list, dict]:
        (tmp_path / "results.json").write_text(json.dumps(found))
        one = results.read(tmp_path, MODEL)
        return [each["measure"] for each in results.accuracies(one)], results.losses(one)

    top1 = probed(0.5)["figures"]["attentive"]
    assert read(probed(0.5)) == (["attentive"], {})
    assert read(probed(0.5) | {"kind": "lora", "figures": top1})[0] == ["lora"]
    knn = {"k": {"10": top1, "20": top1}}
    assert read(probed(0.5) | {"kind": "knn", "figures": knn})[0] == ["knn, k = 10", "knn, k = 20"]
    names, losses = read(measured(0.5, 0.1, 10))
    assert names == []
    assert losses["causal"]["mean"]["value"] == 0.5


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "probe"}', '{"kind": "x", "figures": {}}'])
def test_results_that_are_none_are_refused(tmp_path, text):
    with pytest.raises(HeadraceError, match="cannot be read"):
        results.read(tmp_path, MODEL)
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(HeadraceError, match="not written by headrace eval"):
        results.read(tmp_path, MODEL)


def test_results_of_another_model_are_refused(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(probed(0.5) | {"weights": {"model": {"depth": 2}}}))
    assert results.read(tmp_path, MODEL)["kind"] == "probe"
    with pytest.raises(HeadraceError, match="weights have depth 2 and the run has 3"):
        results.read(tmp_path, LARGER)
