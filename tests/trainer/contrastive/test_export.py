"""A run's weights as open_clip reads them."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file

from pipeline.clip.opening import new_model, open_model
from pipeline.format.errors import HeadraceError
from tests.trainer.contrastive.models import SIGLIP, TIMM, VIT, pairs
from tests.trainer.contrastive.runs import here, train
from tests.trainer.runs import named, tensors
from trainer import proof
from trainer import train as training
from trainer.contrastive.config import FilterConfig
from trainer.contrastive.export import export


def trained(fields: dict, **changes) -> FilterConfig:
    config = fields | {"steps": 3} | changes
    here(config)
    return FilterConfig.model_validate(config)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("model", [VIT, TIMM | {"custom_text": True}, SIGLIP])
def test_open_clip_loads_what_was_trained_bit_for_bit(filter_config, tmp_path, model):
    config = trained(filter_config, model=model)
    name = export(config.run, str(tmp_path / "filter"))
    assert name == f"local-dir:{tmp_path / 'filter'}"
    clip = open_clip.create_model(name)
    assert clip.visual.image_size == (32, 32)
    state, found = clip.state_dict(), tensors(Path(config.run), tmp_path, 3)
    assert state.keys() == {n.removeprefix("/model/clip.") for n in found if "/model/" in n}
    for key, value in state.items():
        assert torch.equal(value, found[f"/model/clip.{key}"].reshape(value.shape)), key
    begun = new_model(model, config.seed, "model").clip.state_dict()
    assert not torch.equal(begun["logit_scale"], state["logit_scale"])


def test_an_export_shows_whole_images_with_the_pixels_of_the_training(filter_config, tmp_path):
    config = trained(filter_config)
    found = open_model(export(config.run, str(tmp_path / "filter"))).preprocess_cfg
    assert (found["resize_mode"], found["interpolation"]) == ("squash", "bicubic")
    assert list(found["mean"]) == list(open_clip.OPENAI_DATASET_MEAN)


def test_training_and_exporting_twice_gives_the_same_bytes(filter_config, tmp_path):
    found = []
    for name in ("one", "two"):
        config = trained(named(filter_config, name))
        export(config.run, str(tmp_path / f"{name}-filter"))
        found.append(files(tmp_path / f"{name}-filter"))
    assert found[0] == found[1]
    assert set(found[0]) == {"filter.json", "open_clip_config.json", "open_clip_model.safetensors"}


def test_the_record_says_what_made_the_weights(filter_config, tmp_path):
    config = trained(filter_config)
    export(config.run, str(tmp_path / "filter"))
    record = json.loads((tmp_path / "filter" / "filter.json").read_bytes())
    assert record["step"] == 3
    assert record["config"]["model"] == VIT
    assert record["config"]["steps"] == 3
    assert record["parent_sha256"] is None
    lines = Path(config.run, proof.NAME).read_text().split()
    total = sum(int(digest, 16) for digest in lines[1::2]) % 2**128
    assert record["delivered"] == f"{total:032x}"
    assert str(tmp_path) not in json.dumps(record)


def test_one_checkpoint_of_several_can_be_named(filter_config, tmp_path):
    config = trained(filter_config, steps=2, checkpoint_every=1)
    export(f"{config.run}/checkpoints/00000001", str(tmp_path / "first"))
    export(config.run, str(tmp_path / "last"))
    steps = [
        json.loads((tmp_path / n / "filter.json").read_bytes())["step"] for n in ("first", "last")
    ]
    assert steps == [1, 2]
    first, last = (
        load_file(tmp_path / n / "open_clip_model.safetensors") for n in ("first", "last")
    )
    assert not torch.equal(first["visual.proj"], last["visual.proj"])


def test_a_run_without_a_checkpoint_or_of_another_kind_is_refused(filter_config, tmp_path):
    with pytest.raises(HeadraceError, match="no complete checkpoint in it"):
        export(str(tmp_path / "none"), str(tmp_path / "filter"))
    config = trained(filter_config)
    marker = Path(config.run, "checkpoints/00000003/COMPLETE")
    state = json.loads(marker.read_text())
    del state["config"]["pixels"]
    marker.write_text(json.dumps(state))
    with pytest.raises(HeadraceError, match="no checkpoint of a filter"):
        export(config.run, str(tmp_path / "filter"))
    assert not (tmp_path / "filter").exists()


def test_going_on_from_a_filter_begins_at_its_weights_and_names_it(filter_config, tmp_path):
    first = export(trained(filter_config).run, str(tmp_path / "first"))
    slow = {"lr": 1e-9, "warmup_lr": 0, "weight_decay": 0}
    config = trained(filter_config, run=str(tmp_path / "tuned"), model=first, optimiser=slow)
    tuned = export(config.run, str(tmp_path / "second"))
    record = json.loads((tmp_path / "second" / "filter.json").read_bytes())
    assert len(record["parent_sha256"]) == 64
    images, tokens = pairs(4)
    before, after = (open_model(name).clip for name in (first, tuned))
    with torch.no_grad():
        assert torch.allclose(before.encode_image(images), after.encode_image(images), atol=1e-5)
        assert torch.allclose(before.encode_text(tokens), after.encode_text(tokens), atol=1e-5)
    drawn = new_model(VIT, 0, "model").clip
    assert not torch.allclose(before.encode_image(images), drawn.encode_image(images), atol=1e-3)


def test_weights_to_begin_with_must_still_be_the_same_on_a_resume(filter_config, tmp_path):
    first = export(trained(filter_config).run, str(tmp_path / "first"))
    trained(filter_config, run=str(tmp_path / "tuned"), model=first)
    (tmp_path / "moved").symlink_to(tmp_path / "first")
    again = f"local-dir:{tmp_path / 'moved'}"
    trained(filter_config, run=str(tmp_path / "tuned"), model=again)  # nothing left to do
    other = trained(filter_config, run=str(tmp_path / "other"), seed=1)
    name = export(other.run, str(tmp_path / "other-filter"))
    with pytest.raises(HeadraceError, match="pretrained_sha256 was"):
        trained(filter_config, run=str(tmp_path / "tuned"), model=name)


def test_a_fork_tells_what_it_went_on_from_and_not_where_that_lies(filter_config, tmp_path):
    parent = trained(filter_config).run
    fork = FilterConfig.model_validate(filter_config | {"run": str(tmp_path / "fork"), "steps": 5})
    training.train(fork, parent=parent)
    export(fork.run, str(tmp_path / "filter"))
    text = (tmp_path / "filter" / "filter.json").read_text()
    record = json.loads(text)
    assert (record["step"], record["fork"]["step"]) == (5, 3)
    assert record["fork"]["digest"] != record["delivered"]
    assert str(tmp_path) not in text


def test_a_checkpoint_in_a_store_is_exported_to_a_store(filter_config, tmp_path):
    where = f"file://{tmp_path}/store"
    config = trained(filter_config, checkpoints=f"{where}/checkpoints")
    assert export(config.run, f"{where}/filter") == f"{where}/filter"
    export(f"{where}/checkpoints/00000003", str(tmp_path / "filter"))
    assert files(tmp_path / "filter") == files(tmp_path / "store" / "filter")


@pytest.mark.slow
def test_what_two_ranks_trained_is_exported_by_one_process(filter_config, tmp_path):
    run = train(filter_config | {"steps": 3}, 2)
    export(str(run), str(tmp_path / "filter"))
    found = tensors(run, tmp_path, 3)
    for key, value in load_file(tmp_path / "filter" / "open_clip_model.safetensors").items():
        assert torch.equal(value, found[f"/model/clip.{key}"].reshape(value.shape)), key
