import json
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from pipeline.format.errors import HeadraceError
from tests.trainer.export import foreign
from trainer.export.read import read
from trainer.export.record import Record
from trainer.export.write import BACKBONE, PIXEL_HEAD, safetensors, write
from trainer.model.aim import AIM


def made(seed: int = 0, **options) -> tuple[AIM, Record]:
    """A small model with drawn weights, and its record."""
    changes = {name: options.pop(name) for name in ("head_kind", "dtype") if name in options}
    kind, dtype = changes.get("head_kind", "mlp"), changes.get("dtype", "float32")
    config = foreign.CONFIG.model_copy(update={"head_kind": kind})
    model = AIM(config, **options)
    model.init_weights(torch.Generator().manual_seed(seed))
    options["outputs"] = options.get("outputs") or config.patch_dim
    return model, Record(headrace="1", model=config, dtype=dtype, **options)


def export(folder: Path, seed: int = 0, **options) -> tuple[AIM, Record]:
    model, record = made(seed, **options)
    return model, write(model.state_dict(), str(folder), record)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_equal(left: AIM, right: AIM) -> None:
    weights = right.state_dict()
    assert left.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in left.state_dict().items())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"head_kind": "none", "outputs": 10},
        {"head_kind": "transformer", "order": "spiral"},
        {"mask_token": True, "order": "random_fixed"},
    ],
    ids=str,
)
def test_what_was_written_is_read_to_the_bit_with_all_that_it_computes(tmp_path, options):
    model, record = export(tmp_path / "out", **options)
    again = read(tmp_path / "out")
    assert again.record == record
    assert not again.head_was_drawn
    assert_equal(again.model, model)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    prefix = torch.tensor([3, 16])
    assert torch.equal(again.model(images, prefix), model(images, prefix))


def test_the_backbone_has_the_releases_names_and_nothing_else(tmp_path):
    export(tmp_path, mask_token=True)
    assert load_file(tmp_path / BACKBONE).keys() == foreign.release().keys()
    assert all(
        name.startswith("pixel_head.") or name == "preprocessor.mask_token"
        for name in load_file(tmp_path / PIXEL_HEAD)
    )


def test_the_same_weights_give_the_same_bytes_in_any_order(tmp_path):
    model, record = made()
    write(model.state_dict(), str(tmp_path / "one"), record)
    write(dict(reversed(model.state_dict().items())), str(tmp_path / "two"), record)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_files_are_safetensors_as_the_library_reads_them(tmp_path):
    tensors = {"b": torch.arange(6.0).view(2, 3).t(), "a": torch.tensor([1.5])}
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"".join(safetensors(tensors, "float32", {"k": "v"})))
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"k": "v"}
        assert torch.equal(file.get_tensor("b"), tensors["b"])
        assert torch.equal(file.get_tensor("a"), tensors["a"])


def test_bfloat16_is_the_weights_rounded_in_half_the_bytes(tmp_path):
    model, whole = export(tmp_path / "whole")
    _, half = export(tmp_path / "half", dtype="bfloat16")
    read_back = read(tmp_path / "half").model.state_dict()
    for name, value in model.state_dict().items():
        assert read_back[name].dtype == torch.float32
        assert torch.equal(read_back[name], value.bfloat16().float())
    assert half.files[PIXEL_HEAD].nbytes < 0.51 * whole.files[PIXEL_HEAD].nbytes
    card = (tmp_path / "half" / "README.md").read_text()
    assert "rounded to bfloat16" in card


def test_the_config_names_every_file_with_its_digest(tmp_path):
    export(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for name, file in config["files"].items():
        told = subprocess.run(["sha256sum", tmp_path / name], capture_output=True, text=True)
        assert told.stdout.split()[0] == file["sha256"]
    assert config["files"].keys() == {BACKBONE, PIXEL_HEAD}


def test_the_same_export_again_changes_nothing(tmp_path):
    export(tmp_path)
    before = {path: path.stat().st_ino for path in tmp_path.iterdir()}
    export(tmp_path)
    assert {path: path.stat().st_ino for path in tmp_path.iterdir()} == before


def test_other_weights_in_the_folder_are_refused_and_left(tmp_path):
    export(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(HeadraceError, match="is there with another content; export to a new"):
        export(tmp_path, seed=1)
    assert contents(tmp_path) == before


def test_somebodys_readme_is_not_overwritten(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(HeadraceError, match=r"README\.md: is there with another content"):
        export(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_an_export_cut_short_is_not_read_and_is_completed_by_the_next(tmp_path):
    model, _ = export(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(HeadraceError, match="neither a whole export"):
        read(tmp_path)
    export(tmp_path)
    assert_equal(read(tmp_path).model, model)


@pytest.mark.parametrize("name", [BACKBONE, PIXEL_HEAD])
def test_a_file_that_was_lost_or_cut_is_named(tmp_path, name):
    export(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(HeadraceError, match=rf"{name}: not the \d+ bytes of the export"):
        read(tmp_path)
    path.unlink()
    with pytest.raises(HeadraceError, match=rf"{name}: not the \d+ bytes of the export"):
        read(tmp_path)


def test_a_lone_backbone_still_tells_its_epsilon(tmp_path):
    _, record = export(tmp_path / "out")
    (tmp_path / "out" / BACKBONE).rename(tmp_path / "lone.safetensors")
    lone = read(tmp_path / "lone.safetensors")
    assert lone.head_was_drawn
    assert lone.record.model.norm_eps == record.model.norm_eps == 1e-5
