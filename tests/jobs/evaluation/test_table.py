import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from jobs.config import load
from jobs.evaluation import table, training
from jobs.evaluation.published import BENCHMARKS
from jobs.evaluation.table import TableConfig, merged, probes
from jobs.train import Ended
from pipeline.format.errors import HeadraceError
from tests.jobs.evaluation.probed import results
from tests.jobs.evaluation.small import MODEL, export

RECIPE = Path(__file__).parents[3] / "jobs" / "recipes" / "eval-table.yaml"


@pytest.fixture
def fields(tmp_path):
    """Two trunks on three sets."""
    sets = {key: {"train": f"{key}/train", "test": f"{key}/test"} for key in ("dtd", "pets")}
    own = {"stream": {"batch": 16}}
    weights = {name: tmp_path / f"{name}.pth" for name in ("mine", "yours")}
    for path in weights.values():
        path.touch()
    return {
        "table": str(tmp_path / "table"),
        "weights": {name: str(path) for name, path in weights.items()},
        "sets": sets | {"cifar10": {"train": "c/train", "test": "c/test", "probe": own}},
        "probe": {"epochs": 2, "stream": {"batch": 8, "lanes": 4, "image_size": 32}},
    }


def refused(tmp_path, fields):
    path = tmp_path / "table.yaml"
    path.write_text(yaml.safe_dump(fields))
    with pytest.raises(HeadraceError) as error:
        load(str(path), TableConfig)
    return str(error.value)


def test_each_trunk_is_probed_on_each_set_in_the_papers_order(fields):
    config = TableConfig(**fields)
    found = list(probes(config))
    order = ["cifar10", "dtd", "pets"]
    assert [(one.trunk, one.set) for one in found] == [
        (trunk, key) for trunk in ("mine", "yours") for key in order
    ]
    assert [one.fields["run"] for one in found[:2]] == [
        f"{config.table}/mine/cifar10",
        f"{config.table}/mine/dtd",
    ]
    assert found[1].fields == {
        "run": f"{config.table}/mine/dtd",
        "weights": fields["weights"]["mine"],
        "train": "dtd/train",
        "test": "dtd/test",
        "sets": f"{config.table}/sets/dtd",
        "layers": "last",
        "kinds": ["attentive"],
        "epochs": 2,
        "stream": {"batch": 8, "lanes": 4, "image_size": 32},
    }


def test_a_sets_own_fields_change_those_that_all_share_within_their_sections(fields):
    own, shared = list(probes(TableConfig(**fields)))[:2]
    assert own.fields["stream"] == {"batch": 16, "lanes": 4, "image_size": 32}
    assert shared.fields["stream"]["batch"] == 8


def test_merging_changes_neither_of_the_two():
    shared, own = {"a": {"b": {"c": 1, "d": 2}}, "e": 3}, {"a": {"b": {"c": 4}}, "e": None}
    assert merged(shared, own) == {"a": {"b": {"c": 4, "d": 2}}, "e": None}
    assert shared == {"a": {"b": {"c": 1, "d": 2}}, "e": 3}
    assert own == {"a": {"b": {"c": 4}}, "e": None}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"sets": {"imagenet": {"train": "a", "test": "b"}}},
            "no set 'imagenet' in the table; use",
        ),
        ({"weights": {"../up": "runs/mine"}}, "'../up': use letters"),
        ({"weights": {"sets": "runs/mine"}}, "no name `sets`"),
        ({"weights": {}}, "weights: "),
        ({"probe": {"run": "elsewhere"}}, "run is filled in for each set by the table; leave"),
        ({"layers": "first"}, "layers"),
        ({"wieghts": {}}, "did you mean 'weights'?"),
    ],
)
def test_a_faulty_config_is_refused_by_file_field_and_fix(tmp_path, fields, changed, told):
    assert told in refused(tmp_path, fields | changed)
    assert refused(tmp_path, fields | changed).startswith(f"{tmp_path}/table.yaml: ")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"probe": {"epochs": 2, "stram": {}}}, "mine/cifar10: stram: unknown name; did you"),
        ({"weights": {"lost": "/no/such/file"}}, "lost/cifar10: weights: nothing at"),
    ],
)
def test_a_fault_of_a_probe_is_told_before_any_work_begins(monkeypatch, fields, changed, told):
    asked = answering(monkeypatch, {})
    with pytest.raises(HeadraceError, match=told):
        table.run(TableConfig(**fields | changed))
    assert not asked
    assert not Path(fields["table"]).exists()


def answering(monkeypatch, answers):
    """Probes that are answered from a list by set, instead of trained; notes which were asked."""
    asked = []

    def run(fields, kind, nproc, ray):
        assert (kind, nproc, ray) == ("probe", 1, False)
        asked.append(fields)
        answer = answers[Path(fields["run"]).name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(training, "run", run)
    return asked


def test_a_probe_that_fails_leaves_its_reason_and_the_others_go_on(monkeypatch, fields):
    lost = HeadraceError("dtd/train: no such dataset\n  at all")
    asked = answering(monkeypatch, {"cifar10": results(0.5), "dtd": lost, "pets": results(0.7)})
    found = table.run(TableConfig(**fields))
    assert asked == [one.fields for one in probes(TableConfig(**fields))]
    assert found.failed == 2
    figures = json.loads((Path(fields["table"]) / "table.json").read_text())
    assert figures == found.figures
    (mine, _) = figures["ours"]
    assert mine["cells"]["dtd"] == {"failed": "dtd/train: no such dataset at all"}
    assert mine["mean"] == 60
    shown = (Path(fields["table"]) / "table.md").read_text()
    assert "mine, DTD: failed: dtd/train: no such dataset at all" in shown


def test_the_same_results_give_the_same_bytes(monkeypatch, fields):
    answering(monkeypatch, {key: results(0.5) for key in fields["sets"]})
    folder = Path(fields["table"])

    def written():
        table.run(TableConfig(**fields))
        return [(folder / f"table.{end}").read_bytes() for end in ("json", "md")]

    assert written() == written()
    assert str(folder).encode() not in b"".join(written())


def test_a_stop_ends_the_table_and_is_no_failure_of_a_set(monkeypatch, fields):
    stopped = Ended("stopped by a signal", 75)
    asked = answering(monkeypatch, {"cifar10": results(0.5), "dtd": stopped})
    with pytest.raises(Ended):
        table.run(TableConfig(**fields))
    assert len(asked) == 2
    assert not (Path(fields["table"]) / "table.json").exists()


def test_a_run_that_stood_still_is_a_failure_of_its_set(monkeypatch, fields):
    hung = Ended("stood still", 70)
    answering(monkeypatch, {"cifar10": results(0.5), "dtd": hung, "pets": results(0.5)})
    assert table.run(TableConfig(**fields)).failed == 2


def test_a_dry_run_tells_what_is_to_do_and_writes_nothing(fields, tmp_path, capsys):
    done = tmp_path / "table" / "mine" / "pets"
    done.mkdir(parents=True)
    (done / "results.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    table.dry_run(TableConfig(**fields))
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 6
    assert f"done   {done}" in told
    assert sum(line.startswith("to do  ") for line in told) == 5
    assert sorted(tmp_path.rglob("*")) == before


def test_the_recipe_has_all_sets_and_the_papers_batches():
    config = load(str(RECIPE), TableConfig)
    assert list(config.sets) == list(BENCHMARKS)
    batches = {one.set: one.fields["stream"]["batch"] for one in probes(config)}
    assert batches == dict.fromkeys(BENCHMARKS, 512) | {"in1k": 1024}


def paint(folder, count, first):
    """Noisy pictures of three colours, in class folders."""
    for name, colour in {
        "red": (200, 60, 60),
        "green": (60, 200, 60),
        "blue": (60, 60, 200),
    }.items():
        (folder / name).mkdir(parents=True)
        for n in range(count):
            noise = np.random.default_rng(first + n).integers(-50, 51, (30, 30, 3))
            pixels = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{n}.png")
    return {"url": str(folder), "format": "folder"}


@pytest.mark.slow
def test_a_real_probe_fills_its_cell_and_is_found_done_by_the_next_run(tmp_path):
    stream = {"batch": 8, "lanes": 2, "image_size": MODEL.image_size}
    path = tmp_path / "table.yaml"
    config = {
        "table": str(tmp_path / "table"),
        "weights": {"mine": export(tmp_path / "trunk")},
        "sets": {
            "dtd": {"train": paint(tmp_path / "a", 8, 0), "test": paint(tmp_path / "b", 5, 100)},
            "pets": {"train": str(tmp_path / "lost"), "test": str(tmp_path / "lost")},
        },
        "probe": {
            "epochs": 8,
            "stream": stream | {"augment": {"rand": {}, "min_scale": 0.5}},
            "grid": {"lr": [0.01], "weight_decay": [0.1]},
            "threads": 1,
        },
    }
    path.write_text(yaml.safe_dump(config))
    found = table.run(str(path))
    (row,) = found.figures["ours"]
    assert row["cells"]["dtd"]["value"] > 50  # a third by chance
    assert row["cells"]["dtd"]["layers"] == [0, 1, 2]
    assert found.figures["sets"]["dtd"]["used"] == {"train": 24, "test": 15, "classes": 3}
    assert "no snapshot here" in row["cells"]["pets"]["failed"]
    assert found.failed == 1
    trained = tmp_path / "table" / "mine" / "dtd" / "metrics.jsonl"
    files = (trained, *(tmp_path / "table" / f"table.{end}" for end in ("json", "md")))
    before = [file.read_bytes() for file in files]
    table.run(str(path))
    assert [file.read_bytes() for file in files] == before
