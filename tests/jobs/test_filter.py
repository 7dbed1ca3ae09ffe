"""`headrace filter` as a command: trained, stopped, gone on with, taken out, averaged."""

import signal
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from jobs import filter
from jobs.cli import app
from jobs.config import load
from pipeline.format.errors import HeadraceError
from tests.jobs.training import newest, wait_for_log
from trainer.contrastive.config import FilterConfig

TINY = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32,
        "patch_size": 8,
        "layers": 2,
        "width": 32,
        "head_width": 16,
    },
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
}
STEPS = 6
WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(autouse=True)
def _own_indexes(tmp_path_factory, monkeypatch):
    """Of plain tars; the processes that a test starts read them, too."""
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path_factory.getbasetemp() / "indexes"))


@pytest.fixture
def config(tmp_path, demo_data):
    """Writes a config of a run into the folder of a name."""

    def write(name: str, **changes) -> Path:
        fields = {
            "run": str(tmp_path / name),
            "pairs": str(demo_data / "trusted" / "00000000.tar"),
            "model": TINY,
            "stream": {"batch": 16, "lanes": 4, "image_size": 32},
            "steps": STEPS,
            "log_every": 2,
            "checkpoint_every": 2,
            "threads": 1,
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(fields | changes))
        return path

    return write


def train(path: Path, **ranks) -> Path:
    """The model's folder."""
    return Path(filter.train(load(str(path), FilterConfig), **ranks).removeprefix("local-dir:"))


def printed(*words) -> str:
    """By a subcommand of `headrace filter`, in this process."""
    done = CliRunner().invoke(app, ["filter", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_command_trains_once_and_what_it_prints_last_is_the_models_name(
    tmp_path, config, headrace, headrace_here
):
    path, model = config("run"), tmp_path / "run" / "model"
    first = headrace("filter", "train", path)
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"local-dir:{model}\n"
    assert f"step {STEPS}/{STEPS}" in first.stderr
    made, log = contents(model), (tmp_path / "run" / "metrics.jsonl").read_text()
    assert {"open_clip_config.json", WEIGHTS, "filter.json"} == made.keys()
    second = headrace_here("filter", "train", path)
    assert (second.returncode, second.stdout) == (0, first.stdout), second.stderr
    assert contents(model) == made
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == log, "nothing was trained again"


def test_an_earlier_state_is_exported_a_stage_goes_on_from_the_model_and_the_two_are_averaged(
    tmp_path, config
):
    first = train(config("first"))
    earlier = tmp_path / "first" / "checkpoints" / "00000004"
    said = printed("export", earlier, "--out", tmp_path / "earlier")
    assert said == f"local-dir:{tmp_path / 'earlier'}\n"
    assert contents(tmp_path / "earlier")[WEIGHTS] != contents(first)[WEIGHTS]
    tuned = train(config("tuned", model=f"local-dir:{first}", optimiser={"lr": 1e-5}))
    both = (f"local-dir:{first}", tuned)
    said = printed("ensemble", *both, "--alpha", "1", "--out", tmp_path / "end")
    assert said == f"local-dir:{tmp_path / 'end'}\n"
    printed("ensemble", *both, "--out", tmp_path / "half")
    weights = [contents(folder)[WEIGHTS] for folder in (first, tmp_path / "half", tuned)]
    assert contents(tmp_path / "end")[WEIGHTS] == weights[2]
    assert len(set(weights)) == 3


def test_what_a_person_must_mend_is_one_line(tmp_path, config, headrace_here):
    done = headrace_here("filter", "train", config("run", pairs=str(tmp_path / "nowhere.tar")))
    assert done.returncode == 1
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "nowhere.tar" in said
    assert "Traceback" not in done.stderr
    with pytest.raises(HeadraceError, match=r"no complete checkpoint in it; name a run's folder"):
        filter.export(str(tmp_path / "none"), str(tmp_path / "out"))
    with pytest.raises(HeadraceError, match=r"no open_clip_config\.json here"):
        filter.ensemble(str(tmp_path), str(tmp_path), 0.5, str(tmp_path / "out"))
    with pytest.raises(HeadraceError, match="mixture"):
        load(str(config("run", mixture="/pairs.json")), FilterConfig)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_stop_ends_with_75_and_the_same_command_goes_on_to_the_same_bytes(
    tmp_path, config, headrace
):
    long = {"steps": 300, "checkpoint_every": 1000, "log_every": 5}
    undisturbed = train(config("undisturbed", **long))
    path, run = config("run", **long), tmp_path / "run"
    process = headrace.start("filter", "train", path)
    wait_for_log(run, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    assert f"error: {run}: stopped by a signal, with a checkpoint" in err
    assert not out, "what is not trained to its end has no name"
    assert 0 < int(Path(newest(run)).name) < 300
    again = headrace("filter", "train", path)
    assert again.returncode == 0, again.stderr
    assert contents(run / "model") == contents(undisturbed)


@pytest.mark.slow
def test_two_processes_and_two_ray_workers_are_fed_alike_and_give_the_same_bytes(
    tmp_path, config, headrace
):
    train(config("one"))
    for name, words in (("torchrun", []), ("ray", ["--ray"])):
        done = headrace("filter", "train", config(name), "--nproc", "2", *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == f"local-dir:{tmp_path / name / 'model'}"
    fed = {(tmp_path / name / "delivered.txt").read_bytes() for name in ("one", "torchrun", "ray")}
    assert len(fed) == 1
    left, right = (contents(tmp_path / name / "model") for name in ("torchrun", "ray"))
    assert left == right
