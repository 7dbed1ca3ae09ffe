"""The filter's training: open_clip's model, our stream, the same weights every time."""

import json
from pathlib import Path

import open_clip
import pytest
from safetensors.torch import load_file

from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import Mixture, Source, mixture_bytes
from pipeline.format.patience import Patience
from trainer.contrastive import FilterConfig, train_filter

MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "layers": 1, "width": 32, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
}


@pytest.fixture
def config(tmp_path, mixture) -> FilterConfig:
    (tmp_path / "mixture.json").write_bytes(mixture_bytes(mixture))
    return FilterConfig(
        run=str(tmp_path / "filter"),
        mixture=str(tmp_path / "mixture.json"),
        model=MODEL,
        stream={"batch": 16, "lanes": 4, "image_size": 32},
        steps=40,
        threads=1,
    )


def test_the_loss_falls_and_open_clip_loads_what_was_saved(config):
    losses = []
    train_filter(config, lambda step, loss: losses.append(loss))
    assert len(losses) == config.steps
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{config.run}")
    assert model.visual.image_size == (32, 32)
    saved = load_file(Path(config.run) / "open_clip_model.safetensors")
    assert saved.keys() == model.state_dict().keys()
    assert all(value.equal(model.state_dict()[name]) for name, value in saved.items())


def test_training_twice_gives_the_same_bytes(config, tmp_path):
    files = []
    for name in ("one", "two"):
        again = config.model_copy(update={"run": str(tmp_path / name), "steps": 5})
        train_filter(again)
        folder = Path(again.run)
        files.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert files[0] == files[1]
    assert json.loads(files[0]["open_clip_config.json"])["model_cfg"] == MODEL


def test_a_model_that_open_clip_does_not_know_is_refused_by_name(config):
    wrong = config.model_copy(update={"model": {"embed_dims": 16}})
    with pytest.raises(HeadraceError, match="not a model_cfg of open_clip"):
        train_filter(wrong)


def test_too_many_damaged_pairs_stop_the_training(config, tmp_path, make_snapshot, pictures):
    snapshot = make_snapshot(tmp_path / "own", pictures, [7, 6, 5])
    tar = tmp_path / "own" / snapshot.shards[1].path
    tar.write_bytes(tar.read_bytes().replace(pictures[9].image, b"\xff" * len(pictures[9].image)))
    (tmp_path / "own.json").write_bytes(
        mixture_bytes(Mixture((Source("trusted", snapshot.url, 1, 18),)))
    )
    damaged = config.model_copy(update={"mixture": str(tmp_path / "own.json")})
    with pytest.raises(HeadraceError, match="source 'trusted', most of those not_an_image"):
        train_filter(damaged)


def test_a_mixture_that_cannot_be_had_at_once_is_asked_for_again(config, busy_twice):
    patient = config.stream.model_copy(update={"patience": Patience(first_pause=0.01)})
    train_filter(config.model_copy(update={"stream": patient, "steps": 1}))
    assert not busy_twice


def test_what_has_no_mixtures_name_is_refused_with_the_fix(config):
    fields = config.model_dump() | {"mixture": "/m/plus"}
    with pytest.raises(ValueError, match=r"'/m/plus' does not end in \.json"):
        FilterConfig.model_validate(fields)
