"""Models of the hub: read from a cache without a network, and one line where there is neither."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import pytest
import torch

from pipeline.clip.names import digest, files
from tests.pipeline.clip import making
from tests.pipeline.clip.making import tiny

REVISION = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).parents[3]

SAID = """
import hashlib, sys
from pipeline.clip.names import digest
from pipeline.clip.opening import open_model
from pipeline.format.errors import HeadraceError
from tests.pipeline.clip.making import embeddings
for name in sys.argv[1:]:
    model, _, pretrained = name.partition(" ")
    try:
        found = embeddings(open_model(model, pretrained)).numpy().tobytes()
        print(digest(model, pretrained, "f"), hashlib.sha256(found).hexdigest())
    except HeadraceError as error:
        print(error)
"""


def said(cache: Path, *names: str, **more: str) -> list[str]:
    """By a process with this cache of the hub, of models; where the hub should be, none answers."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HUB_CACHE": str(cache),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", SAID, *names],
        env=environment, capture_output=True, text=True, timeout=120, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def cached(cache: Path, repo: str, folder: Path) -> None:
    """The folder's files as the hub's client keeps them: blobs, and links to those."""
    inside = cache / f"models--{repo.replace('/', '--')}"
    for name in ("blobs", "refs", f"snapshots/{REVISION}"):
        (inside / name).mkdir(parents=True)
    (inside / "refs" / "main").write_text(REVISION)
    for number, path in enumerate(sorted(folder.iterdir())):
        shutil.copy(path, inside / "blobs" / str(number))
        link = inside / "snapshots" / REVISION / path.name
        link.symlink_to(f"../../blobs/{number}")


@pytest.mark.parametrize(
    "weights",
    [
        "open_clip_pytorch_model.bin",
        pytest.param("open_clip_model.safetensors", marks=pytest.mark.slow),
    ],
)
def test_a_model_of_the_hubs_cache_is_the_folder_that_was_saved(tmp_path, weights):
    folder, cache, model = tmp_path / "model", tmp_path / "cache", tiny()
    making.config(folder, model)
    if weights.endswith("bin"):
        torch.save(model.clip.state_dict(), folder / weights)
    else:
        making.safetensors(folder / weights, model.clip)
    cached(cache, "apple/DFN-public", folder)
    start = time.monotonic()
    # Without HF_HUB_OFFLINE: what is cached is not asked for, so that no retries are waited for.
    one, other = said(cache, "hf-hub:apple/DFN-public", f"local-dir:{folder}")
    assert one == other
    assert time.monotonic() - start < 20  # the client's retries would take 23 s a file
    assert one.startswith(digest(f"local-dir:{folder}", None, "f"))


def test_weights_of_a_tag_are_found_in_the_cache(tmp_path, monkeypatch):
    folder, cache = tmp_path / "model", tmp_path / "cache"
    making.safetensors(folder / "open_clip_model.safetensors", tiny().clip)
    cached(cache, "timm/vit_base_patch32_clip_224.openai", folder)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    (found,) = files("ViT-B-32-quickgelu", "openai", "f")
    assert found.read_bytes() == (folder / "open_clip_model.safetensors").read_bytes()


def test_without_a_network_and_a_cache_one_line_names_the_model_and_the_fix(tmp_path):
    names = ["hf-hub:apple/DFN-public", "ViT-B-32-quickgelu openai"]
    lines = said(tmp_path, *names, HF_HUB_OFFLINE="1")
    assert len(lines) == 2
    for name, line in zip(names, lines, strict=True):
        model = name.partition(" ")[0]
        assert line.startswith(f"measure.clip.model '{model}' cannot be loaded: neither the hub")
        assert "local-dir:FOLDER" in line


@pytest.mark.slow
def test_a_hub_that_refuses_connections_is_given_up_within_a_minute(tmp_path):
    start = time.monotonic()
    (line,) = said(tmp_path, "hf-hub:nowhere/model")
    assert line.startswith("measure.clip.model 'hf-hub:nowhere/model' cannot be loaded: neither")
    assert time.monotonic() - start < 60
