"""`headrace eval probe` and `lora`: from labelled images and a trunk to results, killed or not."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

from jobs.evaluation import showing, training
from pipeline.format.errors import HeadraceError
from tests.jobs.evaluation import coloured
from tests.trainer import runs
from tests.trainer.probing.conftest import COLOURS, PICTURES, TESTED, drawn, exported
from trainer import checkpoint

FEW = [one for one in TESTED if one.text != b"red"]


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> dict:
    """The fields of a probe of a second or two, on images in folders."""
    at = tmp_path_factory.mktemp("given")
    return {
        "weights": exported(drawn(), at / "trunk"),
        "train": coloured.folder(at / "train", PICTURES),
        "test": coloured.folder(at / "test", FEW),
        "sets": str(at / "sets"),
        "grid": {"lr": [1e-3, 1e-2], "weight_decay": [0.1]},
        "stream": {
            "batch": 16,
            "lanes": 4,
            "image_size": 32,
            "augment": {"jitter": None, "min_scale": 0.5, "rand": None},
        },
        "epochs": 4,
        "checkpoint_every": 4,
        "threads": 1,
    }


def config(folder: Path, name: str, fields: dict, **changes) -> Path:
    """A run into the folder of that name."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"run": str(folder / name)} | fields | changes))
    return path


@pytest.fixture(scope="module")
def probed(tmp_path_factory, given) -> tuple[Path, dict]:
    """A run, and its results."""
    folder = tmp_path_factory.mktemp("probed")
    return folder / "run", training.run(str(config(folder, "run", given)), "probe")


def refused(folder: Path, fields: dict, **changes) -> list[str]:
    with pytest.raises(HeadraceError) as raised:
        training.run(str(config(folder, "bad", fields, **changes)), "probe")
    assert not (folder / "bad").exists()
    return str(raised.value).splitlines()


def test_the_results_tell_the_best_cell_of_each_kind_with_its_interval(probed):
    run, found = probed
    assert json.loads((run / "results.json").read_text()) == found
    assert found["kind"] == "probe"
    assert found["classes"] == len(COLOURS)
    sets = found["data"]
    assert [sets[name]["samples"] for name in ("train", "test")] == [48, len(FEW)]
    assert found["figures"].keys() == {"attentive", "linear"}
    for one in found["figures"].values():
        counts = {cell["lr"]: cell["test"]["top1"] for cell in one["grid"]}
        assert set(counts) == {1e-3, 1e-2}
        assert one["chosen_on"] == "test"
        assert one["top1"]["value"] == max(counts.values()) / len(FEW) == counts[one["lr"]] / 21
        assert one["top1"]["low"] < one["top1"]["value"] <= one["top5"]["value"]
        assert one["layers"] == [2, 3, 4, 5, 6, 7]
    assert found["figures"]["attentive"]["top1"]["low"] > 1 / 8  # better than chance


def test_steps_are_the_epochs_and_classes_those_of_the_training_set(probed):
    run, _ = probed
    resolved = json.loads((run / "config.json").read_text())
    assert resolved["steps"] == 4 * 48 // 16
    assert tuple(resolved["classes"]) == COLOURS
    assert "/snapshots/" in resolved["train"]


def test_the_chosen_heads_are_written_under_the_names_of_the_release(probed):
    run, found = probed
    last = checkpoint.newest(str(run / "checkpoints"))
    trained = checkpoint.read_state(last)["config"]
    for kind, one in found["figures"].items():
        with safe_open(run / f"probe-{kind}.safetensors", "pt") as file:
            names, told = set(file.keys()), json.loads(file.metadata()["headrace"])
            assert file.get_tensor("head.linear.weight").shape == (len(COLOURS), 32)
        assert "head.bn.running_mean" in names
        assert ("head.cls_token" in names) == (kind == "attentive")
        assert {name: told[name] for name in ("kind", "lr")} == {"kind": kind, "lr": one["lr"]}
        assert told["weights_sha256"] == trained["weights"]["sha256"]
        assert told["step"] == 12  # the last


def test_running_it_again_finds_it_done_and_writes_the_same_bytes(probed, given):
    run, _ = probed
    names = ("results.json", "probe-attentive.safetensors", "probe-linear.safetensors")
    before, log = (
        [(run / name).read_bytes() for name in names],
        (run / "metrics.jsonl").read_bytes(),
    )
    for name in names:
        (run / name).unlink()
    training.run({"run": str(run)} | given, "probe")
    assert [(run / name).read_bytes() for name in names] == before
    assert (run / "metrics.jsonl").read_bytes() == log


def test_what_is_held_out_chooses_after_the_layers_were_searched(tmp_path, given):
    path = config(tmp_path, "run", given, epochs=1, layers="search", hold_out=0.3)
    found = training.run(str(path), "probe")
    windows = [cell["layers"] for cell in found["search"]["attentive"]["grid"]]
    assert windows == [list(range(first, first + 6)) for first in range(3)]
    for one in found["figures"].values():
        assert one["chosen_on"] == "held_out"
        assert one["layers"] == found["search"]["attentive"]["layers"]
        assert all(cell["layers"] == one["layers"] for cell in one["grid"])


def test_a_lora_counts_what_it_trains_and_has_the_sets_of_the_probes(
    probed, given, tmp_path, capsys
):
    fields = {name: value for name, value in given.items() if name != "grid"}
    found = training.run(str(config(tmp_path, "lora", fields, epochs=1, rank=2)), "lora")
    assert found["kind"] == "lora"
    assert found["data"] == probed[1]["data"]
    assert found["weights"] == probed[1]["weights"]
    figures = found["figures"]
    # Of each of 8 blocks q, v and proj, 32 wide, each a pair of rank 2.
    assert figures["trained"] == 8 * 3 * 2 * 2 * 32
    assert figures["trained"] < figures["of"]
    assert figures["top1"]["low"] <= figures["top1"]["value"] <= figures["top5"]["value"]
    capsys.readouterr()
    showing.lora(found)
    assert f"{figures['trained']:,}" in capsys.readouterr().err


def test_what_is_shown_has_shares_in_percent_and_says_what_chose(probed, capsys):
    _, found = probed
    showing.probe(found)
    told = capsys.readouterr().err
    one = found["figures"]["linear"]["top1"]
    assert f"linear     {100 * one['value']:.1f}% ({100 * one['low']:.1f} to" in told
    assert "2-7" in told
    assert "The test set itself chose the head" in told


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_and_gives_the_same_bytes(probed, given, tmp_path, headrace):
    run, _ = probed
    path = config(tmp_path, "killed", given, checkpoint_every=1)
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = headrace.start("eval", "probe", path, **pipes)
    runs.kill_at(1, {"run": str(tmp_path / "killed")}, process)
    assert not (tmp_path / "killed" / "results.json").exists()
    training.run(str(path), "probe")
    assert runs.facts(tmp_path / "killed")[-1] == runs.facts(run)[-1]
    results = [folder / "results.json" for folder in (tmp_path / "killed", run)]
    assert results[0].read_bytes() == results[1].read_bytes()


def test_every_fault_is_told_at_once_before_any_work(tmp_path, given):
    fields = {name: value for name, value in given.items() if name != "epochs"}
    changes = {"steps": 0, "test": {"ur": "x"}, "grid": {"lrs": [1]}, "weights": "/nowhere"}
    lines = refused(tmp_path, fields, **changes)
    assert all(line.startswith(f"{tmp_path}/bad.yaml: ") for line in lines)
    told = "\n".join(lines)
    assert "steps: give `epochs`" in told
    assert "epochs: Field required" in told
    assert "test.source.ur: unknown name; did you mean 'url'?" in told
    assert "grid.lrs: unknown name; did you mean 'lr'?" in told
    assert len(lines) == 5


def test_weights_that_are_not_there_are_told_before_sets_are_made(tmp_path, given):
    changes = {"weights": "/nowhere", "sets": str(tmp_path / "sets")}
    (line,) = refused(tmp_path, given, **changes)
    assert "weights: nothing at /nowhere; name a run with a checkpoint" in line
    assert not (tmp_path / "sets").exists()


def test_a_test_class_that_the_training_set_lacks_is_named(probed, tmp_path, given):
    _, found = probed
    sets = {name: found["data"][name]["snapshot"] for name in ("train", "test")}
    (line,) = refused(tmp_path, given, train=sets["test"], test=sets["train"])
    assert "test: 1 of its classes are none of train's 7, as 'red'" in line


def test_less_than_a_step_is_refused(probed, tmp_path, given):
    (line,) = refused(tmp_path, given, epochs=0.1)
    assert "epochs: 0.1 over 48 images are not one batch of 16" in line


def test_a_dry_run_says_what_would_be_and_does_nothing(probed, tmp_path, given, capsys):
    training.dry_run(str(config(tmp_path, "dry", given)), "probe")
    told = capsys.readouterr().err
    assert "train    48 images, file://" in told
    assert "classes  8" in told
    assert "steps    12 of 16 images" in told
    assert "heads    4 (2 kinds x 2 rates x 1 decays) in one pass" in told
    training.dry_run(str(config(tmp_path, "dry", given, sets=str(tmp_path / "sets"))), "probe")
    told = capsys.readouterr().err
    assert f"to be made a dataset in {tmp_path}/sets/train" in told
    assert "steps    4 epochs in batches of 16 images" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dry.yaml"]
