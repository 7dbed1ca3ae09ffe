import math

import pytest
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

from trainer.model.aim import AIM
from trainer.model.init import initial_value
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


ALL = {"order": "spiral", "mask_token": True}


def materialised_model(**options):
    with torch.device("meta"):
        model = AIM(CONFIG, **options)
    model.materialise("cpu")
    return model


def drawn_model(seed=0, **options):
    model = materialised_model(**options)
    model.init_weights(torch.Generator().manual_seed(seed))
    return model


def same_parameters(one, other):
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return [torch.equal(a, b) for a, b in pairs]


@pytest.mark.parametrize("options", [{}, ALL], ids=["default", "all"])
def test_materialise_fills_parameters_with_nan_and_buffers_with_code_and_order(options):
    model, built = materialised_model(**options), AIM(CONFIG, **options)
    assert all(parameter.isnan().all() for parameter in model.parameters())
    names = {name for name, _ in model.named_buffers()}
    assert names == {name for name, _ in built.named_buffers()}
    assert ("preprocessor.arrange.cells" in names) == (options == ALL)
    buffers = zip(model.buffers(), built.buffers(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in buffers)


@pytest.mark.parametrize("options", [{}, ALL], ids=["default", "all"])
def test_init_draws_every_parameter(options):
    assert all(parameter.isfinite().all() for parameter in drawn_model(**options).parameters())


def test_the_mask_token_is_normal_and_small_as_in_beit():
    generator = torch.Generator().manual_seed(0)
    token = initial_value("preprocessor.mask_token", torch.Size([1, 1, 4096]), generator)
    assert token.std().item() == pytest.approx(0.02, rel=0.05)
    assert abs(token.mean().item()) < 0.002
    assert token.abs().max() > 0.05, "a normal has tails"


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


def sharded(model):
    for module in (*model.blocks(), model):
        fully_shard(module, mesh=dist.init_device_mesh("cpu", (1,)))
    return model


@pytest.mark.usefixtures("lone_rank")
@pytest.mark.parametrize("options", [{}, ALL], ids=["default", "all"])
def test_a_sharded_model_begins_with_the_same_weights(options):
    with torch.device("meta"):
        model = sharded(AIM(CONFIG, **options))
    model.materialise("cpu")
    model.init_weights(torch.Generator().manual_seed(0))
    whole = [parameter.full_tensor() for parameter in model.parameters()]
    pairs = zip(whole, drawn_model(**options).parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


@pytest.mark.usefixtures("lone_rank")
@pytest.mark.parametrize("recompute", [False, True])
def test_a_sharded_model_computes_the_same_to_the_bit(recompute):
    images = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    prefix, rows = torch.tensor([2, 9]), torch.tensor([1, 5, 12, 17])
    masked = torch.arange(18).view(2, 9) % 3 == 0
    plain = drawn_model(**ALL)
    model = sharded(drawn_model(**ALL))
    for block in model.blocks():
        block.recompute = recompute
    gradients = []
    for one in (plain, model):
        one(images, prefix, rows, masked).square().mean().backward()
        gradients.append([parameter.grad for parameter in one.parameters()])
    expected, ours = gradients
    assert all(torch.equal(a, b.full_tensor()) for a, b in zip(expected, ours, strict=True))
