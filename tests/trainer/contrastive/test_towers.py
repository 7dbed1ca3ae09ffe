"""open_clip's models as a training calls them."""

import math
import shutil

import open_clip
import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock

from pipeline.format.errors import HeadraceError
from tests.trainer.contrastive.models import CONVNEXT, RESNET, SIGLIP, TIMM, VIT, build, pairs
from trainer.compute import ComputeConfig
from trainer.contrastive.towers import MAX_LOGIT_SCALE, Towers, forward_flops

CPU = torch.device("cpu")


@pytest.mark.parametrize("fields", [VIT, TIMM, SIGLIP])
def test_features_are_those_of_open_clip(fields):
    images, tokens = pairs(4)
    clip = build(fields)
    theirs = (clip.encode_image(images, normalize=True), clip.encode_text(tokens, normalize=True))
    scale = clip.logit_scale.exp()
    ours = Towers(clip)(images, tokens)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=False))
    assert torch.equal(ours[2], scale.reshape(1))


def test_features_are_float32_whatever_the_products_are():
    towers = Towers(build(VIT))
    with torch.autocast("cpu", torch.bfloat16):
        image, caption, scale = towers(*pairs(4))
    assert {image.dtype, caption.dtype, scale.dtype} == {torch.float32}
    assert torch.allclose(image.norm(dim=1), torch.ones(4), atol=1e-6)


def test_no_parameter_is_without_a_dimension_and_only_the_bias_is_not_trained():
    towers = Towers(build(SIGLIP))
    assert all(parameter.ndim for parameter in towers.parameters())
    frozen = [name for name, p in towers.named_parameters() if not p.requires_grad]
    assert frozen == ["clip.logit_bias"]


def test_blocks_are_what_repeats_in_both_towers():
    blocks = Towers(build(VIT)).blocks()
    assert [type(block) for block in blocks] == [ResidualAttentionBlock] * 4
    timm = Towers(build(TIMM))
    assert {type(block).__name__ for block in timm.blocks()} == {"Block", "ResidualAttentionBlock"}
    assert len(timm.blocks()) == len(timm.clip.visual.trunk.blocks) + 2
    kinds = {type(block).__name__ for block in Towers(build(CONVNEXT)).blocks()}
    assert kinds == {"ConvNeXtStage", "ResidualAttentionBlock"}


def test_the_stem_makes_patches():
    assert Towers(build(VIT)).stem().kernel_size == (8, 8)
    assert Towers(build(TIMM)).stem().in_channels == 3


def test_only_models_with_batch_norms_normalise_batches():
    assert Towers(build(RESNET)).normalises_batches()
    assert not any(Towers(build(fields)).normalises_batches() for fields in (VIT, TIMM, CONVNEXT))


def test_a_model_that_learns_by_more_than_contrast_is_refused():
    fields = open_clip.get_model_config("coca_base") | {"custom_text": None}
    fields = {k: v for k, v in fields.items() if k != "custom_text"}
    with torch.device("meta"):
        coca = open_clip.CoCa(**fields)
    with pytest.raises(HeadraceError, match="model: CoCa is not trained by contrast alone"):
        Towers(coca)


def test_the_temperature_stays_in_bounds():
    towers = Towers(build(VIT))
    for set_to, bound in ((9.0, MAX_LOGIT_SCALE), (-1.0, 0.0), (2.0, 2.0)):
        towers.clip.logit_scale.data.fill_(set_to)
        towers.bound()
        assert towers.clip.logit_scale.item() == pytest.approx(bound)
    assert math.exp(MAX_LOGIT_SCALE) == pytest.approx(100, rel=1e-4)


def prepared(fields: dict, recompute: bool, compiled: bool) -> Towers:
    towers = Towers(build(fields))
    towers.prepare(ComputeConfig(recompute=recompute, compile=compiled), CPU)
    return towers


def gradient(fields: dict, recompute: bool, compiled: bool) -> list[torch.Tensor]:
    towers = prepared(fields, recompute, compiled)
    image, caption, scale = towers(*pairs(4))
    open_clip.ClipLoss()(image, caption, scale).backward()
    return [parameter.grad for parameter in towers.parameters()]


def test_recomputation_changes_no_bit_of_the_gradient():
    plain, again = (gradient(VIT, recompute, False) for recompute in (False, True))
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))


def test_recomputation_keeps_less_for_the_backward_pass():
    kept = []
    for recompute in (False, True):
        towers, nbytes = prepared(VIT, recompute, False), []

        def keep(tensor: torch.Tensor, nbytes=nbytes) -> torch.Tensor:
            nbytes.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            towers(*pairs(4))
        kept.append(sum(nbytes))
    assert kept[1] < kept[0] / 2


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("fields", [VIT, TIMM])
@pytest.mark.parametrize("recompute", [False, True])
def test_compiled_blocks_give_nearly_the_same_gradient(fields, recompute):
    plain, compiled = (gradient(fields, recompute, on) for on in (False, True))
    for one, other in zip(plain, compiled, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-4 * one.abs().max().item())


def test_flops_are_the_products_of_both_towers():
    """By hand: the patches, four linears of a block, attention, and the projections."""
    towers = Towers(build(VIT))

    def tower(length: int, width: int) -> int:
        return 2 * (2 * length * 12 * width**2 + 2 * 2 * length**2 * width)  # two blocks

    patches = 2 * 16 * (3 * 8 * 8) * 32
    projections = 2 * 32 * 16 + 2 * 16 * 16
    expected = patches + tower(17, 32) + tower(16, 16) + projections
    assert forward_flops(towers, *pairs(1)) == forward_flops(towers, *pairs(3)) == expected
    assert all(parameter.device.type == "cpu" for parameter in towers.parameters())
