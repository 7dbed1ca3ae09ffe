"""A name stands for files of this machine, and its digest for what is in them."""

import json
import shutil
import subprocess
import sys
from itertools import combinations

import open_clip
import pytest
import torch
from open_clip import factory

from pipeline.clip.names import CONFIG, KNOWN, digest, files
from pipeline.clip.refusal import refusal
from pipeline.format.errors import HeadraceError
from tests.pipeline.clip import making
from tests.pipeline.clip.making import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    making.config(folder, tiny())
    making.safetensors(folder / "open_clip_model.safetensors", tiny().clip)
    return folder


def test_a_folder_is_its_config_and_the_weights_that_open_clip_would_load(folder, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    torch.save(tiny(1).clip.state_dict(), copied / "open_clip_pytorch_model.bin")
    found = [copied / CONFIG, copied / "open_clip_model.safetensors"]
    assert files(f"local-dir:{copied}", None, "f") == found
    found[1].unlink()
    assert files(f"local-dir:{copied}", None, "f")[1].name == "open_clip_pytorch_model.bin"


def test_a_digest_does_not_follow_the_folder_nor_what_else_lies_in_it(folder, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    for name in ("filter.json", "README.md", "open_clip_notes.txt", "open_clip_pytorch_model.bin"):
        (copied / name).write_text("other")
    assert digest(f"local-dir:{copied}", None, "f") == digest(f"local-dir:{folder}", None, "f")


def test_a_digest_follows_the_config_and_every_bit_of_the_weights(folder, tmp_path):
    first = tmp_path / "first"
    shutil.copytree(folder, first)
    marks = [digest(f"local-dir:{first}", None, "f")]
    weights = first / "open_clip_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    marks.append(digest(f"local-dir:{first}", None, "f"))
    fields = json.loads((first / CONFIG).read_text()) | {"preprocess_cfg": {}}
    (first / CONFIG).write_text(json.dumps(fields))
    marks.append(digest(f"local-dir:{first}", None, "f"))
    assert len(set(marks)) == 3
    assert all(len(mark) == 64 for mark in marks)


def test_a_checkpoint_is_named_by_its_bytes_and_the_architecture_it_goes_into(
    tmp_path, monkeypatch
):
    one = making.safetensors(tmp_path / "one.safetensors", tiny().clip)
    shutil.copy(one, tmp_path / "copy.safetensors")
    mark = digest("tiny", str(one), "f")
    assert digest("tiny", str(tmp_path / "copy.safetensors"), "f") == mark
    assert digest("tiny-quickgelu", str(one), "f") != mark
    other = making.safetensors(tmp_path / "other.safetensors", tiny(1).clip)
    assert digest("tiny", str(other), "f") != mark
    # As an upgrade of open_clip may do it:
    changed = {**open_clip.get_model_config("tiny"), "init_logit_scale": 1.0}
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny", changed)
    assert digest("tiny", str(one), "f") != mark


def test_an_architecture_may_be_named_as_openai_did(tmp_path):
    (tmp_path / "w.pt").write_bytes(b"1")
    path = str(tmp_path / "w.pt")
    assert digest("ViT-B/32", path, "f") == digest("ViT-B-32", path, "f")


@pytest.mark.parametrize(
    ("model", "pretrained", "words"),
    [
        ("ViT-B-32", None, "names no weights; give `pretrained`"),
        ("ViT-B-32", "nowhere.pt", "no file 'nowhere.pt', and no such tag; its tags: openai, "),
        ("ViT-B-32", "openai", "take ViT-B-32-quickgelu"),
        ("ViT-B-33", "openai", "did you mean ViT-B-32"),
        ("local-dir:nowhere", None, r"nowhere: no open_clip_config\.json here; f must name"),
        ("local-dir:nowhere", "openai", "take `pretrained` out"),
        ("hf-hub:a/b", "openai", "take `pretrained` out"),
    ],
)
def test_a_name_that_stands_for_no_model_is_refused_and_the_fix_named(model, pretrained, words):
    for asked in (files, digest):
        with pytest.raises(HeadraceError, match=f"^f '{model}' cannot be loaded: .*{words}"):
            asked(model, pretrained, "f")


def test_a_folder_without_weights_is_refused(tmp_path):
    making.config(tmp_path, tiny())
    with pytest.raises(HeadraceError, match="a config and no weights"):
        digest(f"local-dir:{tmp_path}", None, "f")


def test_a_folder_whose_weights_are_a_link_to_nothing_is_refused(tmp_path):
    making.config(tmp_path, tiny())
    (tmp_path / "open_clip_model.safetensors").symlink_to(tmp_path / "gone")
    with pytest.raises(HeadraceError, match="a config and no weights"):
        digest(f"local-dir:{tmp_path}", None, "f")


def test_a_name_that_the_hub_cannot_have_is_refused():
    with pytest.raises(HeadraceError, match=r"^f 'hf-hub:a b/\.\.' cannot be loaded: .*Repo id"):
        digest("hf-hub:a b/..", None, "f")


def test_a_password_in_what_a_library_says_is_not_repeated():
    said = refusal("f", "hf-hub:a/b", "404 for url: https://me:secret@mirror/a/b?token=secret\nno")
    assert str(said) == "f 'hf-hub:a/b' cannot be loaded: 404 for url: https://mirror/a/b no"


def test_a_config_can_be_read_without_loading_torch_or_open_clip():
    code = (
        "import sys, pipeline.measure.clip as clip; clip.ClipConfig(model='ViT-B-32');"
        "print({'torch', 'open_clip', 'huggingface_hub'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_of_a_folders_weights_those_are_meant_that_open_clip_loads(tmp_path):
    """Of any few of the files that it knows, and of others."""
    others = ("a.pth", "a.safetensors", "b.bin", "z.safetensors")
    for number, some in enumerate(combinations((*KNOWN, *others), 3)):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in (CONFIG, *some):
            (folder / name).write_text(name)
        found = files(f"local-dir:{folder}", None, "model")[-1]
        assert str(found) == factory._find_checkpoint_in_dir(folder)


def test_naming_a_folder_loads_neither_torch_nor_open_clip(tmp_path):
    for name in (CONFIG, KNOWN[0]):
        (tmp_path / name).write_text("{}")
    code = (
        "import sys; from pipeline.clip import names; "
        f"names.digest('local-dir:{tmp_path}', None, 'model'); "
        "assert not {'torch', 'open_clip'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
