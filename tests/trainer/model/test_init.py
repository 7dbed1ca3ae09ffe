import math

import pytest
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

from trainer.model.aim import AIM
from trainer.model.sizes import ModelConfig

CONFIG = ModelConfig(
    image_size=12,
    patch_size=4,
    embed_dim=32,
    depth=2,
    num_heads=2,
    head_width=16,
    head_depth=1,
)


def materialised_model():
    with torch.device("meta"):
        model = AIM(CONFIG)
    model.materialise("cpu")
    return model


def drawn_model(seed=0):
    model = materialised_model()
    model.init_weights(torch.Generator().manual_seed(seed))
    return model


def same_parameters(one, other):
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return [torch.equal(a, b) for a, b in pairs]


def test_materialise_fills_parameters_with_nan_and_buffers_with_the_position_code():
    model, built = materialised_model(), AIM(CONFIG)
    assert all(parameter.isnan().all() for parameter in model.parameters())
    buffers = zip(model.buffers(), built.buffers(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in buffers)


def test_init_draws_every_parameter():
    assert all(parameter.isfinite().all() for parameter in drawn_model().parameters())


def test_init_depends_on_its_generator_alone():
    torch.manual_seed(1)
    one = drawn_model(seed=5)
    torch.manual_seed(2)
    assert all(same_parameters(one, drawn_model(seed=5)))
    assert not all(same_parameters(one, drawn_model(seed=6)))


def test_init_does_not_touch_the_global_generator():
    before = torch.get_rng_state()
    drawn_model()
    assert torch.equal(before, torch.get_rng_state())


def test_biases_are_zero_and_norm_weights_one():
    for name, parameter in drawn_model().named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif parameter.ndim == 1:
            assert (parameter == 1).all(), name


@pytest.mark.parametrize(
    ("name", "fan_in", "fan_out"),
    [
        ("preprocessor.patchifier.proj.weight", 3 * 4 * 4, 32),
        ("trunk.blocks.1.attn.qkv.weight", 32, 32),  # q, k and v each
        ("trunk.blocks.1.attn.proj.weight", 32, 32),
        ("trunk.blocks.0.mlp.fc1.weight", 32, 128),
        ("trunk.blocks.0.mlp.fc2.weight", 128, 32),
        ("pixel_head.decoder_projection.weight", 32, 16),
        ("pixel_head.decoder_pred.weight", 16, 48),
    ],
)
def test_weights_are_xavier_uniform(name, fan_in, fan_out):
    weight = drawn_model().get_parameter(name)
    bound = math.sqrt(6 / (fan_in + fan_out))
    assert 0.95 * bound < weight.abs().max() <= bound
    assert abs(weight.mean()) < 0.1 * bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


@pytest.fixture
def lone_rank():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("lone_rank")
def test_a_sharded_model_begins_with_the_same_weights():
    with torch.device("meta"):
        model = AIM(CONFIG)
    for module in (*model.blocks(), model):
        fully_shard(module, mesh=dist.init_device_mesh("cpu", (1,)))
    model.materialise("cpu")
    model.init_weights(torch.Generator().manual_seed(0))
    whole = [parameter.full_tensor() for parameter in model.parameters()]
    pairs = zip(whole, drawn_model().parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
