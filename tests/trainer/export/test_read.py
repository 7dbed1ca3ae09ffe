import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.state_dict_saver import save as save_sharded

from pipeline.format.errors import HeadraceError
from tests.trainer.export import foreign, reference
from tests.trainer.export.foreign import CONFIG
from trainer import checkpoint
from trainer.export.read import Read, find, load_weights_into, read
from trainer.export.record import Record
from trainer.export.write import BACKBONE, write
from trainer.model.aim import AIM
from trainer.model.sizes import SIZES, ModelConfig

DEMO = SIZES["aim-demo"]
UNWRITTEN = ModelConfig(**CONFIG.model_dump(exclude={"norm_eps"}))
"""The size, without a word on epsilon."""


def images(config: ModelConfig = CONFIG) -> torch.Tensor:
    shape = (2, 3, config.image_size, config.image_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def double(found: Read) -> AIM:
    model = found.model.double()
    model.reset_buffers()
    return model


def saved(path: Path, tensors: dict) -> Path:
    torch.save(tensors, path)
    return path


def doubled(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.double() for name, value in tensors.items()}


def test_apples_forward_on_the_exported_file_is_ours(tmp_path):
    model = AIM(CONFIG)
    model.init_weights(torch.Generator().manual_seed(3))
    write(model.state_dict(), str(tmp_path), Record(headrace="1", model=CONFIG, outputs=192))
    ours = double(read(tmp_path))
    outputs: list[torch.Tensor] = []
    for block in ours.trunk.blocks:
        block.register_forward_hook(lambda *told: outputs.append(told[2]))
    normed = ours.features(images(), torch.full((2,), CONFIG.num_patches))
    weights = doubled(load_file(tmp_path / BACKBONE))
    tokens = reference.patches(images(), weights, CONFIG.norm_eps, "preprocessor.")
    theirs = reference.trunk(tokens, weights, 7, 2, CONFIG.norm_eps, [CONFIG.num_patches] * 2)
    probed = torch.stack(outputs[-6:]).mean(0)
    torch.testing.assert_close(probed, torch.stack(theirs[-6:]).mean(0), rtol=0, atol=1e-10)
    last = reference.norm(theirs[-1], weights, "trunk.post_trunk_norm", CONFIG.norm_eps)
    torch.testing.assert_close(normed, last, rtol=0, atol=1e-10)


def test_released_weights_compute_with_their_epsilon_and_without_their_probe(tmp_path):
    release = foreign.release() | foreign.probe()
    path = saved(tmp_path / "backbone.pth", release)
    found = read(path, UNWRITTEN, seed=5)
    assert found.record.model.norm_eps == 1e-6
    assert find(path, UNWRITTEN).unused == tuple(foreign.probe())
    prefix = torch.tensor([1, 9])
    ours = double(found).features(images(), prefix)
    weights = doubled(release)
    tokens = reference.patches(images(), weights, 1e-6, "preprocessor.")
    theirs = reference.trunk(tokens, weights, 7, 2, 1e-6, prefix.tolist())[-1]
    theirs = reference.norm(theirs, weights, "trunk.post_trunk_norm", 1e-6)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_without_a_stored_head_it_is_a_new_runs_of_the_seed(tmp_path):
    found = read(saved(tmp_path / "w.pth", foreign.release()), UNWRITTEN, seed=5)
    fresh = AIM(found.record.model)
    fresh.init_weights(torch.Generator().manual_seed(5))
    assert found.head_was_drawn
    drawn = found.model.pixel_head.state_dict()
    assert all(torch.equal(v, drawn[n]) for n, v in fresh.pixel_head.state_dict().items())


def test_an_epsilon_that_was_written_out_counts(tmp_path):
    path = saved(tmp_path / "w.pth", foreign.release())
    written = ModelConfig(**UNWRITTEN.model_dump(exclude={"norm_eps"}), norm_eps=1e-5)
    assert read(path, written).record.model.norm_eps == 1e-5


def test_a_named_size_of_other_images_is_refused(tmp_path):
    larger = foreign.training(DEMO.model_copy(update={"image_size": 128}))
    with pytest.raises(HeadraceError, match="code is for 256 patches, the model has 64; give the"):
        read(saved(tmp_path / "w.pth", larger))


@pytest.mark.parametrize("storage", ["state dict", "under model", "sharded"])
def test_the_training_codes_model_computes_the_same_here(tmp_path, storage):
    weights = foreign.training()
    path = tmp_path / "w.pth"
    if storage == "sharded":
        path = tmp_path / "checkpoint"
        save_sharded({"model": weights, "optimizer": {"lr": 1.0}}, checkpoint_id=path)
        (path / "other.pth").write_bytes(b"never opened")
    else:
        saved(path, {"model": weights} if storage == "under model" else weights)
    found = read(path, UNWRITTEN)
    assert (found.record.origin, found.head_was_drawn) == ("ml-l3m", False)
    eps, prefix = found.record.model.norm_eps, torch.tensor([4, 16])
    assert eps == 1e-5
    weights = doubled(weights)
    tokens = reference.patches(images(), weights, eps, "preprocessor.blocks.0.")
    normed = reference.norm(
        reference.trunk(tokens, weights, 7, 2, eps, prefix.tolist())[-1],
        weights,
        "trunk.post_trunk_norm",
        eps,
    )
    theirs = reference.head(normed, weights, 4, 2, eps)
    torch.testing.assert_close(double(found)(images(), prefix), theirs, rtol=0, atol=1e-10)


def test_a_named_size_and_the_head_are_told_from_the_shapes(tmp_path):
    config = DEMO.model_copy(update={"head_width": 64, "head_depth": 1})
    found = read(saved(tmp_path / "w.pth", foreign.training(config, outputs=7)))
    assert found.record.model == config
    assert found.record.outputs == 7
    plain = {n: v for n, v in foreign.training(config).items() if "blocks.0.norm_1" not in n}
    plain |= {n: v for n, v in foreign.training(config).items() if n.startswith("trunk.")}
    found = read(saved(tmp_path / "plain.pth", plain))
    assert found.record.model == config.model_copy(update={"head_block": "plain"})


def test_a_size_without_a_name_must_be_given(tmp_path):
    path = saved(tmp_path / "w.pth", foreign.release())
    with pytest.raises(HeadraceError, match=r"fits none of .*embed_dim 32, depth 7\); give its"):
        read(path)


def test_another_image_size_than_the_position_code_has_is_refused(tmp_path):
    path = saved(tmp_path / "w.pth", foreign.training())
    larger = ModelConfig(**UNWRITTEN.model_dump(exclude={"norm_eps", "image_size"}), image_size=64)
    with pytest.raises(HeadraceError, match="code is for 16 patches, the model has 64"):
        read(path, larger)


def test_a_port_with_swapped_halves_is_refused(tmp_path):
    weights, name = foreign.training(), "preprocessor.blocks.0.pos_embed"
    weights[name] = torch.cat(weights[name].chunk(2, dim=-1)[::-1], dim=-1)
    with pytest.raises(HeadraceError, match="halves for rows and columns swapped"):
        read(saved(tmp_path / "w.pth", weights), UNWRITTEN)


def test_a_model_is_filled_in_place_and_keeps_its_head_where_none_is_stored(tmp_path):
    path = saved(tmp_path / "w.pth", foreign.release())
    model = AIM(ModelConfig(**UNWRITTEN.model_dump(exclude={"norm_eps"}), norm_eps=1e-6))
    model.init_weights(torch.Generator().manual_seed(5))
    head = {name: value.clone() for name, value in model.pixel_head.state_dict().items()}
    assert not load_weights_into(model, path).has_head
    assert all(torch.equal(v, head[n]) for n, v in model.pixel_head.state_dict().items())
    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in foreign.release().items())


def test_a_model_that_would_norm_otherwise_is_refused(tmp_path):
    path = saved(tmp_path / "w.pth", foreign.release())
    with pytest.raises(HeadraceError, match=r"for a norm_eps of 1e-06, and the model has 1e-05"):
        load_weights_into(AIM(CONFIG), path)
    write(foreign.release(), str(tmp_path / "e"), Record(headrace="1", model=CONFIG, outputs=192))
    with pytest.raises(HeadraceError, match=r"for a norm_eps of 1e-05, and the model has 1e-06"):
        load_weights_into(AIM(CONFIG.model_copy(update={"norm_eps": 1e-6})), tmp_path / "e")


def test_a_model_of_other_heads_is_refused_though_all_shapes_are_equal(tmp_path):
    write(foreign.release(), str(tmp_path), Record(headrace="1", model=CONFIG, outputs=192))
    with pytest.raises(HeadraceError, match="for a num_heads of 2, and the model has 4; set model"):
        load_weights_into(AIM(CONFIG.model_copy(update={"num_heads": 4})), tmp_path)


def test_another_model_is_refused_before_a_weight_is_written(tmp_path):
    write(foreign.release(), str(tmp_path / "e"), Record(headrace="1", model=CONFIG, outputs=192))
    wider = AIM(CONFIG.model_copy(update={"embed_dim": 64}))
    before = {name: value.clone() for name, value in wider.state_dict().items()}
    with pytest.raises(HeadraceError, match="of another shape"):
        load_weights_into(wider, tmp_path / "e")
    assert all(torch.equal(value, before[n]) for n, value in wider.state_dict().items())


def refusal(path: Path, config: ModelConfig | None = UNWRITTEN) -> str:
    with pytest.raises(HeadraceError) as refused:
        read(path, config)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(path))
    return str(refused.value)


def test_names_and_shapes_that_do_not_fit_are_listed_on_one_line(tmp_path):
    weights = foreign.release()
    for n in range(6):
        weights[f"stray.{n}"] = weights.pop(f"trunk.blocks.{n}.norm_1.bias")
    weights["trunk.post_trunk_norm.weight"] = torch.zeros(31)
    weights["trunk.blocks.6.norm_1.bias"] = torch.zeros(32, dtype=torch.int8)
    message = refusal(saved(tmp_path / "w.pth", weights))
    assert "6 missing (trunk.blocks.0.norm_1.bias, trunk.blocks.1.norm_1.bias, " in message
    assert "and 2 more)" in message
    assert "6 unexpected (stray.0, stray.1, " in message
    assert "trunk.post_trunk_norm.weight is 31, not 32" in message
    assert "trunk.blocks.6.norm_1.bias is 32 int8, not 32" in message


def test_half_a_pixel_head_is_refused(tmp_path):
    weights = foreign.training()
    del weights["head.decoder_norm.bias"], weights["trunk.blocks.2.attn.k_proj.weight"]
    message = refusal(saved(tmp_path / "w.pth", weights))
    assert "2 missing (trunk.blocks.2.attn.qkv.weight, pixel_head.decoder_norm.bias)" in message
    assert "2 unexpected (trunk.blocks.2.attn.q_proj.weight, " in message


def test_what_is_no_aim_is_refused(tmp_path):
    assert "no AIM" in refusal(saved(tmp_path / "w.pth", {"fc.weight": torch.zeros(2, 2)}), None)
    assert "holds no state dict" in refusal(saved(tmp_path / "l.pth", [1, 2]))
    assert "holds no state dict" in refusal(saved(tmp_path / "s.pth", {"epoch": 3}))
    assert "no such file" in refusal(tmp_path / "nothing.pth")
    assert "neither a whole export" in refusal(tmp_path)
    (tmp_path / checkpoint.MARKER).write_text("{}")
    assert "`headrace export` makes weights of it" in refusal(tmp_path)


def test_somebody_elses_config_is_told_from_ours(tmp_path):
    (tmp_path / "config.json").write_text('{"img_size": 224}')
    with pytest.raises(HeadraceError, match=r"config\.json: not the config of an export"):
        read(tmp_path)


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_with_code_in_it_is_refused_and_not_run(tmp_path, zipped):
    path, trace = tmp_path / "w.pth", tmp_path / "trace"
    content = {"model": foreign.release(), "cfg": Bomb(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert "it holds posix.mkdir, which could run code" in refusal(path)
    path.write_bytes(pickle.dumps(Bomb(trace)))
    assert "not read as weights" in refusal(path)
    assert not trace.exists()


def test_a_sharded_checkpoint_with_code_in_its_listing_is_refused_and_not_run(tmp_path):
    path, trace = tmp_path / "checkpoint", tmp_path / "trace"
    save_sharded({"model": foreign.training()}, checkpoint_id=path)
    (path / ".metadata").write_bytes(pickle.dumps(Bomb(trace)))
    assert "posix.mkdir, which torch does not write and could run code" in refusal(path)
    assert not trace.exists()


def test_the_listing_of_a_sharded_checkpoint_is_never_simply_unpickled(tmp_path, monkeypatch):
    save_sharded({"model": foreign.training()}, checkpoint_id=tmp_path / "checkpoint")
    monkeypatch.delattr(pickle, "load")
    assert read(tmp_path / "checkpoint", UNWRITTEN).record.origin == "ml-l3m"


def test_a_sharded_checkpoint_that_is_not_whole_is_refused(tmp_path):
    path = tmp_path / "checkpoint"
    save_sharded({"model": foreign.training()}, checkpoint_id=path)
    (part,) = path.glob("*.distcp")
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    assert "not read as a sharded checkpoint" in refusal(path)
    part.unlink()
    assert "not read as a sharded checkpoint" in refusal(path)
    (path / ".metadata").write_bytes(b"\x80\x04N.")
    assert "its listing is none of torch's" in refusal(path)


@pytest.mark.parametrize("length", [0, 4, 100, -1])
@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_a_file_that_was_cut_is_refused(tmp_path, kind, length):
    path = tmp_path / f"w.{kind}"
    if kind == "pth":
        saved(path, foreign.release())
    else:
        save_file(foreign.release(), path)
    path.write_bytes(path.read_bytes()[:length])
    assert "not read as weights" in refusal(path)


def test_bytes_that_are_no_weights_are_refused(tmp_path):
    for number, name in enumerate(["w.pth", "w.safetensors", "w.bin"]):
        (tmp_path / name).write_bytes(bytes((7 * n + number) % 256 for n in range(500)))
        assert "not read as weights" in refusal(tmp_path / name)
