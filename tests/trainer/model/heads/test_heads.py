"""What all heads promise, and what each is alone."""

from typing import get_args

import pytest
import torch

from tests.trainer.model.literal import CONFIG, K, random_images, tiny_model
from trainer.model.aim import AIM
from trainer.model.heads.choose import HEADS
from trainer.model.sizes import SIZES, ModelConfig

PREFIX = torch.tensor([1, 6, K - 1])


def of_kind(kind, **changes):
    return ModelConfig(**CONFIG.model_dump() | {"head_kind": kind} | changes)


def weighted_gradients(model, predictions, weights):
    return torch.autograd.grad((predictions * weights).sum(), list(model.parameters()))


def test_every_kind_of_the_config_has_a_head():
    assert set(HEADS) == set(get_args(ModelConfig.model_fields["head_kind"].annotation))


@pytest.mark.parametrize("outputs", [None, 5])
@pytest.mark.parametrize("order", ["raster", "spiral"])
@pytest.mark.parametrize("kind", HEADS)
def test_rows_are_those_of_all_predictions_with_their_gradients(kind, order, outputs):
    model = tiny_model(head_kind=kind, order=order, outputs=outputs).requires_grad_(True)
    images, rows = random_images(3), torch.tensor([40, 0, 17, 16, 47, 0])
    dense = model(images, PREFIX).flatten(0, 1)[rows]
    predictions = model(images, PREFIX, rows)
    assert predictions.shape == (6, outputs or 27)
    torch.testing.assert_close(predictions, dense, rtol=1e-12, atol=1e-12)
    weights = torch.randn(dense.shape, generator=torch.Generator().manual_seed(2)).double()
    ours, theirs = (weighted_gradients(model, y, weights) for y in (predictions, dense))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12 * float(other.abs().max()))


@pytest.mark.parametrize("kind", HEADS)
def test_no_rows_are_no_predictions(kind):
    nothing = torch.empty(0, dtype=torch.int64)
    predictions = tiny_model(head_kind=kind)(random_images(3), PREFIX, nothing)
    assert predictions.shape == (0, 27)


@pytest.mark.parametrize(("kind", "shape"), [("mlp", (4, 24)), ("transformer", (3, K, 24))])
def test_only_the_head_with_attention_works_on_rows_that_are_not_scored(kind, shape):
    model, seen = tiny_model(head_kind=kind), []
    for module in (model.pixel_head.decoder_projection, *model.pixel_head.decoder_blocks):
        module.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    model(random_images(3), PREFIX, torch.tensor([1, 2, 30, 47]))
    assert seen == [shape] * 3


def names(kind, **changes):
    return set(AIM(of_kind(kind, **changes)).pixel_head.state_dict())


def test_no_head_is_one_linear():
    assert names("none") == {"decoder_pred.weight", "decoder_pred.bias"}
    assert AIM(of_kind("none")).pixel_head.decoder_pred.weight.shape == (27, CONFIG.embed_dim)


def test_the_transformer_head_is_the_mlp_head_with_attention():
    attention = {
        f"decoder_blocks.{i}.attn.{part}.weight" for i in (0, 1) for part in ("qkv", "proj")
    }
    assert names("transformer") == names("mlp") | attention


def test_the_plain_block_lacks_the_norm_of_the_attention_it_lacks():
    norm_1 = {f"decoder_blocks.{i}.norm_1.{w}" for i in (0, 1) for w in ("weight", "bias")}
    assert names("mlp", head_block="plain") == names("mlp") - norm_1


@pytest.mark.parametrize("name", ["aim-600m", "aim-1b", "aim-3b", "aim-7b"])
def test_the_papers_transformer_head_has_16_attention_heads_of_128_channels(name):
    config = ModelConfig(**SIZES[name].model_dump() | {"head_kind": "transformer", "head_depth": 1})
    with torch.device("meta"):
        block = AIM(config).pixel_head.decoder_blocks[0]
    assert block.attn.num_heads == 16
    assert block.attn.qkv.weight.shape == (3 * 2048, 2048)
