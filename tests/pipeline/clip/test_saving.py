"""What is saved is what stock open_clip loads, and says where it comes from."""

import json
from dataclasses import replace

import fsspec
import open_clip
import pytest
import torch
from safetensors.torch import load_file

from pipeline.clip.names import digest
from pipeline.clip.opening import new_model, open_model
from pipeline.clip.saving import save
from pipeline.format import writing
from pipeline.format.errors import HeadraceError
from tests.pipeline.clip.making import TINY, embeddings, tiny

PREPROCESS = {"interpolation": "bicubic", "resize_mode": "squash"}


def saved(folder, model, record=None) -> str:
    weights = model.clip.state_dict()
    save(str(folder), model.model_cfg, PREPROCESS, weights, record or {"steps": 3})
    return f"local-dir:{folder}"


def test_a_saved_model_embeds_as_it_did(tmp_path):
    model = tiny()
    opened = open_model(saved(tmp_path, model))
    assert opened.preprocess_cfg["resize_mode"] == "squash"
    squashed = replace(model, preprocess_cfg=opened.preprocess_cfg)
    assert torch.equal(embeddings(opened), embeddings(squashed))


def test_stock_open_clip_loads_a_model_that_was_trained_with_its_temperature_as_a_vector(tmp_path):
    biased = {**TINY, "nonscalar_logit_scale": True, "init_logit_bias": -10.0}
    model = new_model(biased, 0, "model")
    stock = open_clip.create_model(saved(tmp_path, model), require_pretrained=True)
    assert stock.logit_scale.shape == stock.logit_bias.shape == ()
    assert stock.logit_scale == model.clip.logit_scale
    weights = load_file(tmp_path / "open_clip_model.safetensors")
    assert weights["logit_scale"].shape == weights["logit_bias"].shape == ()


def test_the_record_is_beside_the_model_and_no_part_of_what_it_is(tmp_path):
    names = [
        saved(tmp_path / "one", tiny(), {"steps": 3}),
        saved(tmp_path / "other", tiny(), {"steps": 4}),
    ]
    assert json.loads((tmp_path / "one" / "filter.json").read_text()) == {"steps": 3}
    assert digest(names[0], None, "f") == digest(names[1], None, "f")


def test_the_config_comes_last_so_that_a_folder_half_written_is_no_model(tmp_path, monkeypatch):
    publish, written = writing.publish, []

    def failing(url, data):
        if len(written) == 2:
            raise HeadraceError("the disk is full")
        written.append(url)
        publish(url, data)

    monkeypatch.setattr(writing, "publish", failing)
    with pytest.raises(HeadraceError, match="disk"):
        saved(tmp_path, tiny())
    assert not (tmp_path / "open_clip_config.json").exists()
    with pytest.raises(HeadraceError, match=r"no open_clip_config\.json here"):
        open_model(f"local-dir:{tmp_path}")


def test_a_model_half_written_over_another_is_none_of_the_two(tmp_path, monkeypatch):
    publish = writing.publish
    saved(tmp_path, tiny(1))

    def killed(url, data):
        publish(url, data)
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "publish", killed)
    with pytest.raises(KeyboardInterrupt):
        saved(tmp_path, tiny(2))
    with pytest.raises(HeadraceError, match=r"no open_clip_config\.json here"):
        open_model(f"local-dir:{tmp_path}")
    monkeypatch.undo()
    assert torch.equal(
        open_model(saved(tmp_path, tiny(2))).clip.text_projection, tiny(2).clip.text_projection
    )


def test_a_model_can_be_saved_to_a_store_and_copied_from_there(tmp_path):
    model = tiny()
    for _ in range(2):  # the second time over the first
        save("memory://filters/one", model.model_cfg, PREPROCESS, model.clip.state_dict(), {})
    fsspec.filesystem("memory").get("filters/one/", str(tmp_path), recursive=True)
    assert digest(f"local-dir:{tmp_path}", None, "f") == digest(
        saved(tmp_path / "two", model), None, "f"
    )
