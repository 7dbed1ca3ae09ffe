"""`headrace export` of a run that was trained, and `headrace import`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
import torch

from jobs import curate, export, mix
from jobs.config import CurateConfig, MixConfig
from pipeline.format.errors import HeadraceError
from tests.trainer.contrastive.models import VIT
from tests.trainer.export import foreign
from trainer import checkpoint, metrics
from trainer.config import TrainConfig
from trainer.contrastive.config import FilterConfig
from trainer.export.read import read
from trainer.model.aim import AIM
from trainer.model.sizes import SIZES, ModelConfig
from trainer.train import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory, demo_data) -> Path:
    """The folder of a run of six steps, with checkpoints at 2, 4 and 6."""
    work = tmp_path_factory.mktemp("trained")
    dataset = str(work / "dataset")
    sources = [{"url": str(demo_data / "target" / "val-*.tar")}]
    curate.run(CurateConfig(dataset=dataset, sources=sources), workers=1)
    mixed = [{"name": "web", "snapshot": dataset, "ratio": 1}]
    mix.run(MixConfig(mixture=str(work / "mixture.json"), sources=mixed))
    model = {"image_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    fields = {
        "run": str(work / "run"),
        "mixture": str(work / "mixture.json"),
        "validation": dataset,
        "model": model | {"head_width": 32, "head_depth": 1},
        "stream": {"batch": 16, "lanes": 4, "image_size": 32},
        "steps": 6,
        "checkpoint_every": 2,
        "validate_every": 2,
        "keep_checkpoints": 3,
        "threads": 1,
    }
    train(TrainConfig.model_validate(fields))
    return work / "run"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_runs_newest_checkpoint_is_exported_to_the_bit_with_its_provenance(trained, tmp_path):
    record = export.run(str(trained), str(tmp_path / "out"))
    exported = read(tmp_path / "out")
    assert exported.record == record
    model = AIM(record.model)
    checkpoint.load_weights(checkpoint.newest(str(trained / "checkpoints")), model)
    weights = exported.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    log = metrics.read(trained / "metrics.jsonl")
    last = [line for line in log if "digest" in line][-1]
    training = record.training
    assert (training.step, training.steps, training.images) == (6, 6, 96)
    assert training.digest == last["digest"]
    assert training.sources["web"].drawn == last["drawn"]["web"]
    validated = [line["validation"] for line in log if "validation" in line]
    assert training.validation == {"step": 6} | validated[-1]
    assert training.mixture == json.loads((trained / "config.json").read_text())["mixture"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"causal | {validated[-1]['causal']:.6f}" in card


def test_the_same_checkpoint_gives_the_same_bytes_in_another_process(trained, tmp_path):
    export.run(str(trained), str(tmp_path / "one"))
    code = "import sys; from jobs import export; export.run(*sys.argv[1:])"
    words = [str(trained / "checkpoints" / "00000006"), str(tmp_path / "two")]
    subprocess.run([sys.executable, "-c", code, *words], check=True, timeout=120)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    export.run(str(trained), str(tmp_path / "one"))


def test_an_older_checkpoint_is_named_by_its_folder_and_refused_over_another(trained, tmp_path):
    older = str(trained / "checkpoints" / "00000004")
    record = export.run(older, str(tmp_path / "out"))
    assert (record.training.step, record.training.validation["step"]) == (4, 4)
    with pytest.raises(HeadraceError, match="is there with another content"):
        export.run(str(trained), str(tmp_path / "out"))


def test_a_checkpoint_alone_is_exported_without_what_only_the_run_knows(trained, tmp_path):
    shutil.copytree(trained / "checkpoints" / "00000006", tmp_path / "a" / "b" / "moved")
    record = export.run(str(tmp_path / "a" / "b" / "moved"), str(tmp_path / "out"), "bfloat16")
    assert (record.training.mixture, record.training.validation) == (None, None)
    assert record.dtype == "bfloat16"
    assert "No validation loss was taken" in (tmp_path / "out" / "README.md").read_text()


def test_a_run_whose_checkpoints_lie_elsewhere_is_exported(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "checkpoints").rename(tmp_path / "elsewhere")
    config = json.loads((run / "config.json").read_text())
    config["checkpoints"] = str(tmp_path / "elsewhere")
    (run / "config.json").write_text(json.dumps(config))
    record = export.run(str(run), str(tmp_path / "out"))
    assert (record.training.step, record.training.validation["step"]) == (6, 6)
    alone = export.run(str(tmp_path / "elsewhere"), str(tmp_path / "alone"))
    assert (alone.training.step, alone.training.validation) == (6, None)


def test_a_folder_without_a_complete_checkpoint_is_named(tmp_path):
    with pytest.raises(HeadraceError, match="no complete checkpoint in it"):
        export.run(str(tmp_path / "nothing"), str(tmp_path / "out"))


def test_released_weights_are_imported_without_a_head_and_read_with_a_drawn_one(tmp_path):
    size = SIZES["aim-demo"]
    torch.save(foreign.release(size) | foreign.probe(size), tmp_path / "w.pth")
    record = export.import_(str(tmp_path / "w.pth"), str(tmp_path / "out"))
    assert record.files.keys() == {"backbone.safetensors"}
    assert record.model == size.model_copy(update={"norm_eps": 1e-6})
    found = read(tmp_path / "out")
    assert found.head_was_drawn
    weights = found.model.state_dict()
    assert all(torch.equal(weights[n], value) for n, value in foreign.release(size).items())


def test_the_training_codes_weights_are_imported_whole_with_a_size_that_is_given(tmp_path):
    torch.save({"model": foreign.training()}, tmp_path / "w.pth")
    fields = foreign.CONFIG.model_dump(exclude={"norm_eps"})
    record = export.import_(str(tmp_path / "w.pth"), str(tmp_path / "out"), ModelConfig(**fields))
    assert (record.origin, record.model.norm_eps) == ("ml-l3m", 1e-5)
    again = export.import_(str(tmp_path / "out"), str(tmp_path / "again"))
    assert again.files["pixel_head.safetensors"] == record.files["pixel_head.safetensors"]
    assert contents(tmp_path / "again") == contents(tmp_path / "out")


def test_an_exported_run_is_imported_as_bfloat16_with_its_history(trained, tmp_path):
    record = export.run(str(trained), str(tmp_path / "out"))
    half = export.import_(str(tmp_path / "out"), str(tmp_path / "half"), dtype="bfloat16")
    assert (half.training, half.dtype) == (record.training, "bfloat16")
    direct = export.run(str(trained), str(tmp_path / "direct"), "bfloat16")
    assert direct.files == half.files


def test_a_checkpoint_in_a_store_is_exported_to_a_store(trained, tmp_path):
    store = fsspec.filesystem("memory")
    store.put(str(trained / "checkpoints" / "00000006"), "/kept/00000006", recursive=True)
    record = export.run("memory://kept/00000006", "memory://exported")
    store.get("/exported", str(tmp_path / "out"), recursive=True)
    here = export.run(str(trained), str(tmp_path / "here"))
    assert record.model == read(tmp_path / "out").record.model == here.model
    stored = [path.read_bytes() for path in tmp_path.rglob("pixel_head.safetensors")]
    assert stored[0] == stored[1]


def test_the_commands_export_and_import(trained, tmp_path, headrace_here):
    done = headrace_here("export", trained, "--out", tmp_path / "a", "--dtype", "bfloat16")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'a'}\n"), done.stderr
    torch.save(foreign.release(SIZES["aim-demo"]), tmp_path / "w.pth")
    done = headrace_here("import", tmp_path / "w.pth", "--out", tmp_path / "b")
    assert "without a pixel head" in done.stdout + done.stderr, done.stderr
    assert contents(tmp_path / "b").keys() == {"backbone.safetensors", "README.md", "config.json"}
    done = headrace_here("import", tmp_path, "--out", tmp_path / "c")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_a_filters_run_is_refused_and_the_right_command_named(tmp_path, demo_data):
    config = FilterConfig(
        run=str(tmp_path / "run"),
        pairs=str(demo_data / "target" / "val-*.tar"),
        model=VIT,
        stream={"batch": 4, "lanes": 2, "image_size": 32},
        steps=1,
    )
    train(config)
    with pytest.raises(HeadraceError, match="`headrace filter export` takes a filter's"):
        export.run(config.run, str(tmp_path / "out"))
