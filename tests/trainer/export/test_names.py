import pytest
import torch

from tests.trainer.export import foreign
from trainer.export import names
from trainer.model.aim import AIM
from trainer.model.sizes import SIZES


def parameters(config, **options) -> dict[str, torch.Size]:
    with torch.device("meta"):
        model = AIM(config, **options)
    return {name: value.shape for name, value in model.named_parameters()}


def shapes(tensors) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in tensors.items()}


def test_the_releases_names_and_shapes_are_our_backbones():
    ours = parameters(foreign.CONFIG)
    assert shapes(foreign.release()) == {n: s for n, s in ours.items() if names.is_backbone(n)}
    translated = names.translate(foreign.release() | foreign.probe())
    assert translated.origin == "ml-aim"
    assert shapes(translated.tensors) == shapes(foreign.release())
    assert set(translated.unused) == set(foreign.probe())


def test_the_training_codes_names_and_shapes_become_all_of_ours():
    translated = names.translate(foreign.training())
    assert translated.origin == "ml-l3m"
    assert shapes(translated.tensors) == parameters(foreign.CONFIG)
    assert set(translated.positions) == set(names.POSITIONS)
    assert translated.unused == ()


@pytest.mark.parametrize("head", ["mlp", "transformer", "none"])
def test_our_names_stay(head):
    config = SIZES["aim-demo"].model_copy(update={"head_kind": head})
    ours = {name: torch.empty(shape) for name, shape in parameters(config, mask_token=True).items()}
    translated = names.translate(ours)
    assert (translated.origin, translated.tensors) == ("headrace", ours)


def test_q_k_and_v_become_rows_in_this_order():
    parts = {f"trunk.blocks.0.attn.{n}_proj.weight": torch.full((2, 2), ord(n)) for n in "vkq"}
    fused = names.fused(parts)
    assert fused.keys() == {"trunk.blocks.0.attn.qkv.weight"}
    rows = fused["trunk.blocks.0.attn.qkv.weight"][:, 0].tolist()
    assert bytes(rows) == b"qqkkvv"


def test_a_part_of_q_k_v_keeps_its_name():
    parts = {"trunk.blocks.0.attn.q_proj.weight": torch.zeros(2, 2)}
    assert names.fused(parts) == parts


@pytest.mark.parametrize(
    "wrapped",
    [
        "module.trunk.blocks.3.mlp.fc1.weight",
        "_orig_mod.trunk.blocks.3.mlp.fc1.weight",
        "trunk.blocks.3._checkpoint_wrapped_module.mlp.fc1.weight",
        "module._orig_mod.trunk.blocks.3._orig_mod._checkpoint_wrapped_module.mlp.fc1.weight",
    ],
)
def test_wrappers_are_taken_off(wrapped):
    assert names.renamed(wrapped) == "trunk.blocks.3.mlp.fc1.weight"


def test_a_stored_mask_is_left_out():
    assert names.renamed("trunk.blocks.3.attn.attn_mask") is None
