"""How a model is set up to compute, and what cannot be."""

import shutil

import pytest
import torch

from pipeline.format.errors import HeadraceError
from trainer import compute
from trainer.compute import AimComputeConfig
from trainer.model.aim import AIM
from trainer.model.sizes import ModelConfig
from trainer.objective.task import SHAPES

CPU = torch.device("cpu")
SHAPE = ModelConfig(image_size=12, patch_size=3, embed_dim=16, depth=1, num_heads=2, head_depth=1)


def prepared(objective_attention="prefix", **fields):
    with torch.device("meta"):
        model = AIM(SHAPE)
    compute.prepare(model, AimComputeConfig(**fields), objective_attention, CPU)
    return model


def test_a_kernel_that_cannot_train_on_the_device_is_a_mistake_of_the_config():
    with pytest.raises(HeadraceError, match=r'compute\.attention: "flex" cannot train on a cpu'):
        prepared(attention="flex")


@pytest.mark.parametrize(
    ("objective", "kernel"), [("prefix", "auto"), ("causal", "causal"), ("bidirectional", "full")]
)
def test_where_no_prefix_varies_attention_needs_no_mask_unless_a_kernel_is_asked_for(
    objective, kernel
):
    assert prepared(objective).kernel == kernel
    assert prepared(objective, attention="causal_overwrite").kernel == "causal_overwrite"


def test_every_block_recomputes_if_asked_to_and_none_otherwise():
    for asked in (True, False):
        assert {block.recompute for block in prepared(recompute=asked).blocks()} == {asked}


@pytest.mark.parametrize(
    ("device", "asked", "dtype"),
    [
        ("cpu", None, torch.float32),
        ("cuda", None, torch.bfloat16),
        ("cpu", "bfloat16", torch.bfloat16),
        ("cuda", "float32", torch.float32),
    ],
)
def test_products_are_bfloat16_on_a_gpu_and_float32_on_a_cpu_unless_told(device, asked, dtype):
    assert compute.dtype_of(AimComputeConfig(precision=asked), torch.device(device)) == dtype


def test_in_half_precision_what_goes_from_block_to_block_is_float32():
    config, seen = AimComputeConfig(precision="bfloat16"), []
    model = AIM(SHAPE)
    model.init_weights(torch.Generator().manual_seed(0))
    for block in model.blocks():
        block.register_forward_hook(
            lambda _, inputs, out: seen.append((inputs[0].dtype, out.dtype))
        )
    with compute.autocast(config, CPU):
        predictions = model(torch.zeros(2, 3, 12, 12), torch.tensor([1, 3]))
        assert model.pixel_head.decoder_pred(torch.zeros(1, 2048)).dtype == torch.bfloat16
    assert predictions.dtype == torch.float32
    assert seen == [(torch.float32, torch.float32)] * 2


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_compiled_blocks_take_all_the_sizes_that_chance_makes_and_no_general_one():
    torch.compiler.reset()
    config = ModelConfig(**SHAPE.model_dump() | {"head_width": 16})
    model, images, prefix = AIM(config), torch.zeros(8, 3, 12, 12), torch.ones(8).long()
    compute.prepare(model, AimComputeConfig(compile=True), "prefix", CPU)
    sizes = [torch.arange(part * 8 * 16 // SHAPES) for part in range(1, SHAPES + 1)]
    for rows in sizes:
        model(images, prefix, rows).sum().backward()
    with torch.compiler.set_stance("fail_on_recompile"):
        for rows in reversed(sizes):
            model(images, prefix, rows).sum().backward()
        with pytest.raises(RuntimeError, match="recompile"):
            model(images, prefix, sizes[-1][:-1])
    torch.compiler.reset()
