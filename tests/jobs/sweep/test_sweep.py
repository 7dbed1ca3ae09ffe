"""Sweeps of tiny models on real pictures: here, killed, and as Ray tasks."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from jobs import curate
from jobs.config import CurateConfig
from jobs.sweep import sweep
from jobs.sweep.config import SweepConfig
from pipeline.format.errors import HeadraceError
from tests.jobs.training import make_mixture, newest, wait_for
from tests.trainer.runs import MODEL

STREAM = {"batch": 16, "lanes": 4, "image_size": 32}


def fields(folder: Path, data: str, **changes) -> dict:
    return {
        "sweep": str(folder / "sweep"),
        "seeds": [0],
        "sources": {"target": data},
        "train": {
            "model": MODEL,
            "validation": data,
            "stream": STREAM,
            "steps": 4,
            "validate_every": 2,
            "checkpoint_every": 1,
        },
        "validation": {"val": data},
        "discrete": {"centroids": 4},
    } | changes


def config(folder: Path, data: str, **changes) -> SweepConfig:
    return SweepConfig.model_validate(fields(folder, data, **changes))


def write(folder: Path, data: str, **changes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(fields(folder, data, **changes)))
    return path


def tables(folder: Path, ablation: str) -> dict[str, bytes]:
    where = folder / "sweep" / ablation
    return {name: (where / name).read_bytes() for name in ("table.json", "table.md", "curves.svg")}


def status(folder: Path, ablation: str) -> dict[str, str]:
    table = json.loads(tables(folder, ablation)["table.json"])
    return {row["name"]: row["status"] for row in table["rows"]}


@pytest.fixture(scope="module")
def web(tmp_path_factory, demo_data) -> str:
    """23 pictures, whose captions are no classes."""
    folder = tmp_path_factory.mktemp("web")
    make_mixture(folder, demo_data)
    return str(folder / "web")


def test_a_row_that_fails_is_told_and_the_others_go_on(tmp_path, web):
    (tmp_path / "broken.pt").write_text("not a module")
    tokenizer = {"tokenizer": str(tmp_path / "broken.pt"), "tokenizer_size": 32, "vocabulary": 9}
    asked = config(tmp_path, web, discrete={"centroids": 4} | tokenizer)
    with pytest.raises(HeadraceError, match=r"target: tokens, seed 0: .*not a TorchScript module"):
        sweep.run("target", asked)
    told = status(tmp_path, "target")
    assert "seed 0 failed: " in told.pop("tokens")
    assert set(told.values()) == {"done"}
    (codebook,) = (tmp_path / "sweep" / "codebooks").iterdir()
    assert np.load(codebook).shape == (4, 192)
    fitted = codebook.read_bytes()
    codebook.unlink()
    asked = config(tmp_path, web, seeds=[1])  # another seed of the training, the same codebook
    sweep.run("target", asked, only="kmeans")
    assert codebook.read_bytes() == fitted
    told = status(tmp_path, "target")
    assert (told["kmeans"], told["pixels"]) == ("done", "not done: seed 1")
    assert told["tokens"].startswith("not run: name discrete.tokenizer")


def test_the_command_says_what_it_would_do_and_writes_nothing(tmp_path, web, headrace_here):
    path = write(tmp_path, web)
    done = headrace_here("sweep", "head-width", path, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "head mlp 8 x 1" in done.stderr
    assert "3 trainings, 0 done; about" in done.stderr
    assert not (tmp_path / "sweep").exists()
    done = headrace_here("sweep", "head-width", path, "--dry-run", "--only", "third")
    assert done.returncode == 1
    assert "--only third: no row of head-width; there are quarter, half, whole" in done.stderr


def test_what_is_wrong_with_a_probe_is_told_before_a_training(tmp_path, web):
    asked = config(tmp_path, web, probe={"train": web, "test": web, "epochs": 1, "kind": "linear"})
    with pytest.raises(HeadraceError, match="kind: unknown name; did you mean 'kinds'"):
        sweep.run("head-width", asked)
    assert not (tmp_path / "sweep" / "trainings").exists()


@pytest.fixture(scope="module")
def labelled(tmp_path_factory, demo_data) -> str:
    folder = str(tmp_path_factory.mktemp("labelled") / "dataset")
    sources = [{"url": str(demo_data / "target" / "val-*.tar")}]
    curate.run(CurateConfig(dataset=folder, sources=sources), workers=1)
    return folder


@pytest.fixture(scope="module")
def probe(labelled) -> dict:
    sets = {"train": labelled, "test": labelled, "epochs": 0.2, "kinds": ["linear"]}
    return {"probe": sets | {"grid": {"lr": [1e-3], "weight_decay": [0.1]}, "stream": STREAM}}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, labelled, probe) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    found = sweep.run("attention", config(folder, labelled, **probe))
    assert [row["accuracy"]["linear"]["n"] for row in found["rows"]] == [1] * 4
    assert len({row["runs"][0] for row in found["rows"]}) == 2
    return tables(folder, "attention")


@pytest.mark.slow
def test_a_sweep_killed_in_a_training_gives_the_same_bytes(
    tmp_path, labelled, probe, undisturbed, headrace
):
    path = write(tmp_path, labelled, **probe)
    process = headrace.start("sweep", "attention", path)

    def begun() -> list[Path]:
        runs = (tmp_path / "sweep" / "trainings").glob("*/seed-0/aim")
        return [run for run in runs if newest(run)]

    (run,) = wait_for(begun, process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "sweep" / "attention").exists()
    sweep.run("attention", config(tmp_path, labelled, **probe))
    assert run.exists()
    assert tables(tmp_path, "attention") == undisturbed


@pytest.mark.slow
def test_ray_tasks_give_the_bytes_of_one_process(tmp_path, labelled, probe, undisturbed, headrace):
    path = write(tmp_path, labelled, **probe)
    done = headrace("sweep", "attention", path, "--ray", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# Table 3d")
    assert tables(tmp_path, "attention") == undisturbed
