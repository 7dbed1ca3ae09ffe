"""Models saved in the formats people keep them in embed as they did before."""

import json
import pickle
import random
import tarfile
from dataclasses import replace

import pytest
import torch

from pipeline.clip.opening import Opened, new_model, open_model
from pipeline.format.errors import HeadraceError
from tests.pipeline.clip import making
from tests.pipeline.clip.making import TINY, embeddings, tiny


def squashed(model: Opened) -> Opened:
    """As `making.config` says that images are made ready."""
    return replace(model, preprocess_cfg={**model.preprocess_cfg, "resize_mode": "squash"})


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "model.safetensors"])
def test_a_folder_with_safetensors_embeds_as_the_model_that_was_saved(name, tmp_path):
    model = tiny()
    making.config(tmp_path, model)
    making.safetensors(tmp_path / name, model.clip)
    opened = open_model(f"local-dir:{tmp_path}")
    assert torch.equal(embeddings(opened), embeddings(squashed(model)))
    assert not torch.equal(embeddings(opened), embeddings(model))
    assert opened.model_cfg == model.model_cfg


def test_a_folder_with_a_pickle_of_weights_embeds_as_the_model_that_was_saved(tmp_path):
    model = tiny()
    making.config(tmp_path, model)
    torch.save(model.clip.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    opened = open_model(f"local-dir:{tmp_path}")
    assert torch.equal(embeddings(opened), embeddings(squashed(model)))


def test_a_checkpoint_of_open_clips_training_embeds_as_the_model_that_was_saved(tmp_path):
    model = tiny()
    path = making.training_checkpoint(tmp_path / "epoch_3.pt", model.clip)
    assert torch.equal(embeddings(open_model("tiny", str(path))), embeddings(model))


def test_a_plain_state_dict_embeds_as_the_model_that_was_saved(tmp_path):
    model = tiny()
    torch.save(model.clip.state_dict(), tmp_path / "weights.pt")
    assert torch.equal(
        embeddings(open_model("tiny", str(tmp_path / "weights.pt"))), embeddings(model)
    )


def test_a_safetensors_file_by_its_path_embeds_as_the_model_that_was_saved(tmp_path):
    model = tiny()
    path = making.safetensors(tmp_path / "weights.safetensors", model.clip)
    assert torch.equal(embeddings(open_model("tiny", str(path))), embeddings(model))


def test_an_archive_of_openai_embeds_as_the_model_that_was_saved(tmp_path):
    model = tiny(quick=True)
    path = making.archive_of_openai(tmp_path / "ViT.pt", model.clip)
    opened = open_model("tiny-quickgelu", str(path))
    assert {value.dtype for value in opened.clip.parameters()} == {torch.float32}
    model.clip.float()
    assert torch.equal(embeddings(opened), embeddings(model))


def test_a_model_of_open_clip_that_was_scripted_embeds_as_before(tmp_path):
    for quick, name in ((True, "tiny-quickgelu"), (False, "tiny")):
        model = tiny(quick=quick)
        path = making.scripted(tmp_path / f"{name}.pt", model.clip)
        assert torch.equal(embeddings(open_model(name, str(path))), embeddings(model))


@pytest.mark.slow
def test_an_archive_of_a_whole_vit_b_32_opens_under_openais_name_for_it(tmp_path):
    model = new_model("ViT-B-32-quickgelu", 0, "model")
    path = making.archive_of_openai(tmp_path / "ViT-B-32.pt", model.clip)
    opened = open_model("ViT-B/32-quickgelu", str(path))
    model.clip.float()
    assert torch.equal(embeddings(opened), embeddings(model))


def test_an_archive_of_openai_is_refused_by_an_architecture_without_quickgelu(tmp_path):
    path = making.archive_of_openai(tmp_path / "ViT.pt", tiny(quick=True).clip)
    with pytest.raises(HeadraceError, match="trained with QuickGELU; take tiny-quickgelu"):
        open_model("tiny", str(path))


def test_a_scripted_model_is_refused_by_an_architecture_with_quickgelu(tmp_path):
    path = making.scripted(tmp_path / "model.pt", tiny().clip)
    with pytest.raises(HeadraceError, match=r"trained with GELU; take tiny$"):
        open_model("tiny-quickgelu", str(path))


def test_a_tag_is_refused_by_an_architecture_without_its_quickgelu():
    for name, tag in (("ViT-B-32", "openai"), ("ViT-B/16", "dfn2b")):
        quick = f"{name.replace('/', '-')}-quickgelu"
        with pytest.raises(HeadraceError, match=f"trained with QuickGELU; take {quick}$"):
            open_model(name, tag)


def test_no_weights_are_random_unless_they_are_asked_for(tmp_path):
    making.config(tmp_path / "empty", tiny())
    for name, words in (
        ("tiny", "names no weights"),
        (f"local-dir:{tmp_path}/empty", "no weights"),
    ):
        with pytest.raises(HeadraceError, match=words):
            open_model(name)


def test_the_wrong_weights_are_refused_in_one_line_that_begins_with_the_field(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pt")
    model = tiny()
    making.config(tmp_path / "more", model)
    weights = model.clip.state_dict() | {"another": torch.zeros(3)}
    torch.save(weights, tmp_path / "more" / "open_clip_pytorch_model.bin")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "open_clip_config.json").write_text("{")
    making.safetensors(tmp_path / "broken" / "model.safetensors", model.clip)
    names = [("tiny", str(tmp_path / "w.pt")), (f"local-dir:{tmp_path}/more", None)]
    names += [(f"local-dir:{tmp_path}/broken", None), ("tiny", "no-such-tag"), ("ViT-B-31", None)]
    names += [(f"local-dir:{tmp_path}/nowhere", None), (f"local-dir:{tmp_path}/more", "openai")]
    for name, pretrained in names:
        with pytest.raises(
            HeadraceError, match=r"^filter\.model '.*' cannot be loaded: "
        ) as caught:
            open_model(name, pretrained, field="filter.model")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 700


@pytest.mark.parametrize("name", ["w.pt", "w.bin", "w.npy", "w.npz"])
def test_nobody_is_advised_to_load_what_could_run_code(name, tmp_path):
    path = tmp_path / name
    if name == "w.pt":  # torch's oldest format
        with tarfile.open(path, "w") as tar:
            tar.addfile(tarfile.TarInfo("pickle"))
    else:
        path.write_bytes(pickle.dumps(print))
    with pytest.raises(HeadraceError, match="no file of weights alone") as caught:
        open_model("tiny", str(path))
    assert "allow_pickle" not in str(caught.value)


@pytest.mark.parametrize("unwanted", ["trust_remote_code", "reduction_mask"])
def test_a_tokenizer_that_could_run_code_or_leaves_words_to_chance_is_refused(tmp_path, unwanted):
    model = tiny()
    text = {**TINY["text_cfg"], "hf_tokenizer_name": "a/b"}
    text["tokenizer_kwargs"] = {unwanted: True}
    made = replace(model, model_cfg={**TINY, "text_cfg": text})
    making.config(tmp_path, made)
    making.safetensors(tmp_path / "model.safetensors", model.clip)
    with pytest.raises(HeadraceError, match=unwanted):
        open_model(f"local-dir:{tmp_path}")


@pytest.mark.parametrize("place", ["hf-hub:a/b", "local-dir:/elsewhere"])
def test_an_image_tower_of_another_place_is_refused(place, tmp_path):
    model = tiny()
    tower = {**TINY, "vision_cfg": {"timm_model_name": place, "image_size": 32}}
    making.config(tmp_path, replace(model, model_cfg=tower))
    making.safetensors(tmp_path / "model.safetensors", model.clip)
    for made in (lambda: open_model(f"local-dir:{tmp_path}"), lambda: new_model(tower, 0, "model")):
        with pytest.raises(HeadraceError, match=f"'{place}' is a place"):
            made()


@pytest.mark.parametrize(
    "wrong", [{"mean": "x"}, {"std": [0, 0, 0]}, {"resize_mode": "no"}, {"interpolation": "no"}]
)
def test_images_that_nothing_could_make_ready_are_found_out_when_a_model_is_opened(wrong, tmp_path):
    model = tiny()
    fields = {"model_cfg": model.model_cfg, "preprocess_cfg": wrong}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(fields))
    making.safetensors(tmp_path / "model.safetensors", model.clip)
    with pytest.raises(HeadraceError, match=r"^measure\.clip\.model '.*' cannot be loaded: "):
        open_model(f"local-dir:{tmp_path}")


def test_a_seed_gives_the_same_bits_and_another_seed_others():
    first, again, other = tiny(1), tiny(1), tiny(2)
    assert torch.equal(embeddings(first), embeddings(again))
    assert not torch.equal(embeddings(first), embeddings(other))
    assert torch.equal(embeddings(new_model("tiny", 1, "model")), embeddings(first))


def test_no_generator_is_moved_and_none_is_asked(tmp_path):
    path = making.safetensors(tmp_path / "w.safetensors", tiny().clip)
    torch.manual_seed(123)
    before = torch.get_rng_state(), random.getstate()
    for made in (lambda: tiny(5), lambda: open_model("tiny", str(path))):
        made()
        assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]


def test_a_new_model_has_its_own_context_length():
    short = {**TINY, "text_cfg": {**TINY["text_cfg"], "context_length": 7}}
    assert new_model(short, 0, "model").tokenizer(["words"]).shape == (1, 7)
    assert tiny().tokenizer(["words"]).shape == (1, 16)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({**TINY, "depth": 3}, "depth"),
        ({**TINY, "vision_cfg": {"layerz": 3}}, "layerz"),
        ({"embed_dim": 3}, "'text_cfg'"),
        ({**TINY, "text_cfg": {**TINY["text_cfg"], "hf_tokenizer_name": "a/b"}}, "hf_tokenizer"),
        ({**TINY, "embed_dim": object()}, "JSON"),
        ("ViT-B-33", "did you mean ViT-B-32"),
    ],
)
def test_a_model_that_open_clip_cannot_make_is_refused_and_its_field_named(model, words):
    with pytest.raises(HeadraceError, match=rf"^model '.*' cannot be loaded: .*{words}") as caught:
        new_model(model, 0, "model")
    assert "\n" not in str(caught.value)


def test_a_new_model_may_have_its_temperature_as_a_vector():
    clip = new_model({**TINY, "nonscalar_logit_scale": True}, 0, "model").clip
    assert clip.logit_scale.shape == (1,)
