import math

import pytest
import torch

from trainer.model.aim import AIM
from trainer.model.sizes import ModelConfig

CONFIG = ModelConfig(
    image_size=12,
    patch_size=3,
    embed_dim=16,
    depth=2,
    num_heads=2,
    head_width=12,
    head_depth=2,
)
K = CONFIG.num_patches


def tiny_model(dtype=torch.float64, **changes):
    """A model whose every parameter is random: no zeros or ones that would hide a mistake."""
    model = AIM(ModelConfig(**CONFIG.model_dump() | changes)).to(dtype)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    model.reset_buffers()
    return model.eval().requires_grad_(False)


def random_images(count, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, 12, 12, generator=generator, dtype=dtype)


def change_patch(images, patch):
    """The same images with another patch number `patch`."""
    row, column = divmod(patch, CONFIG.grid_size)
    images = images.clone()
    images[:, :, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3] += 1
    return images


# The forward pass again, from the specification: no modules, no fused operations.


def norm(x, weights, name, eps):
    x = x - x.mean(-1, keepdim=True)
    x = x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def mlp(x, weights, name):
    x = x @ weights[f"{name}.fc1.weight"].T
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2 @ weights[f"{name}.fc2.weight"].T


def position_code(width, grid):
    cells = []
    for cell in range(grid * grid):
        code = []
        for place in (cell % grid, cell // grid):  # column, row
            angles = [place / 10000 ** (4 * i / width) for i in range(width // 4)]
            code += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        cells.append(code)
    return torch.tensor(cells, dtype=torch.float64)


def embed(image, weights, config):
    p, tokens = config.patch_size, []
    kernels = weights["preprocessor.patchifier.proj.weight"]
    for row in range(config.grid_size):
        for column in range(config.grid_size):
            patch = image[:, row * p : row * p + p, column * p : column * p + p]
            tokens.append(torch.stack([(patch * kernel).sum() for kernel in kernels]))
    x = torch.stack(tokens) + weights["preprocessor.patchifier.proj.bias"]
    x = norm(x, weights, "preprocessor.patchifier.norm", config.norm_eps)
    return x + position_code(config.embed_dim, config.grid_size)


def attention(x, weights, name, heads, prefix):
    D = x.shape[1]
    q, k, v = (x @ part.T for part in weights[f"{name}.qkv.weight"].split(D))
    out = torch.zeros_like(x)
    for h in range(heads):
        mine = slice(h * D // heads, (h + 1) * D // heads)
        for i in range(len(x)):
            seen = [j for j in range(len(x)) if j < prefix or j <= i]
            odds = (k[seen][:, mine] @ q[i, mine] / math.sqrt(D // heads)).exp()
            out[i, mine] = odds / odds.sum() @ v[seen][:, mine]
    return out @ weights[f"{name}.proj.weight"].T


def trunk(image, prefix, weights, config):
    x, eps = embed(image, weights, config), config.norm_eps
    for i in range(config.depth):
        name = f"trunk.blocks.{i}"
        inner = norm(x, weights, f"{name}.norm_1", eps)
        x = x + attention(inner, weights, f"{name}.attn", config.num_heads, prefix)
        x = x + mlp(norm(x, weights, f"{name}.norm_2", eps), weights, f"{name}.mlp")
    return norm(x, weights, "trunk.post_trunk_norm", eps)


def pixel_head(x, weights, config):
    eps, name = config.norm_eps, "pixel_head.decoder"
    x = x @ weights[f"{name}_projection.weight"].T + weights[f"{name}_projection.bias"]
    x = x + position_code(config.head_width, config.grid_size)
    for i in range(config.head_depth):
        block = f"{name}_blocks.{i}"
        if config.head_block == "official":
            x = x + norm(x, weights, f"{block}.norm_1", eps)
        x = x + mlp(norm(x, weights, f"{block}.norm_2", eps), weights, f"{block}.mlp")
    x = norm(x, weights, f"{name}_norm", eps)
    return x @ weights[f"{name}_pred.weight"].T + weights[f"{name}_pred.bias"]


@pytest.mark.parametrize(("head_block", "norm_eps"), [("official", 1e-5), ("plain", 1e-2)])
def test_forward_is_the_specification_written_again_in_float64(head_block, norm_eps):
    model = tiny_model(head_block=head_block, norm_eps=norm_eps)
    weights, images = model.state_dict(), random_images(2)
    prefix = torch.tensor([1, 6])
    features, predictions = model.features(images, prefix), model(images, prefix)
    for b in range(2):
        expected = trunk(images[b], int(prefix[b]), weights, model.config)
        torch.testing.assert_close(features[b], expected, rtol=1e-10, atol=1e-10)
        expected = pixel_head(expected, weights, model.config)
        torch.testing.assert_close(predictions[b], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("prefix", [1, 7, K - 1])
def test_no_prediction_before_a_patch_outside_the_prefix_depends_on_it(prefix):
    model, images = tiny_model(), random_images(1)
    S = torch.tensor([prefix])
    before = model(images, S)
    for patch in range(prefix, K):
        after = model(change_patch(images, patch), S)
        changed = (after != before).any(dim=-1)[0].tolist()
        assert changed == [i >= patch for i in range(K)], patch


def test_every_position_sees_the_whole_prefix():
    model, images = tiny_model(), random_images(1)
    S = torch.tensor([5])
    before = model(images, S)
    for patch in range(5):
        after = model(change_patch(images, patch), S)
        assert (after != before).any(dim=-1).all(), patch


def test_each_image_has_its_own_prefix_length():
    model, images = tiny_model(), random_images(3)
    prefix = torch.tensor([1, 8, K - 1])
    together = model(images, prefix)
    for b in range(3):
        alone = model(images[b : b + 1], prefix[b : b + 1])[0]
        other = model(images[b : b + 1], prefix[b : b + 1] % (K - 1) + 1)[0]
        torch.testing.assert_close(together[b], alone)
        assert not torch.allclose(together[b], other)


def test_state_dict_keys_are_those_of_the_released_weights_and_the_training_codes_head():
    norms = {"weight", "bias"}
    expected = {f"preprocessor.patchifier.{part}.{w}" for part in ("proj", "norm") for w in norms}
    expected |= {f"trunk.post_trunk_norm.{w}" for w in norms}
    for i in range(2):
        block = f"trunk.blocks.{i}"
        expected |= {f"{block}.{norm}.{w}" for norm in ("norm_1", "norm_2") for w in norms}
        linears = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
        expected |= {f"{block}.{linear}.weight" for linear in linears}
        block = f"pixel_head.decoder_blocks.{i}"
        expected |= {f"{block}.{norm}.{w}" for norm in ("norm_1", "norm_2") for w in norms}
        expected |= {f"{block}.mlp.fc1.weight", f"{block}.mlp.fc2.weight"}
    head = ("decoder_projection", "decoder_norm", "decoder_pred")
    expected |= {f"pixel_head.{part}.{w}" for part in head for w in norms}
    assert set(AIM(CONFIG).state_dict()) == expected


def test_blocks_are_those_of_the_trunk_and_then_of_the_head():
    model = AIM(CONFIG)
    names = {module: name for name, module in model.named_modules()}
    assert [names[block] for block in model.blocks()] == [
        "trunk.blocks.0",
        "trunk.blocks.1",
        "pixel_head.decoder_blocks.0",
        "pixel_head.decoder_blocks.1",
    ]


def test_half_precision_gives_float32_predictions_and_float32_norms():
    model, images, S = (
        tiny_model(torch.bfloat16),
        random_images(2, torch.bfloat16),
        torch.tensor([1, 4]),
    )
    assert model(images, S).dtype == torch.float32
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(2)).bfloat16()
    norm_1 = model.trunk.blocks[0].norm_1
    wide = torch.nn.functional.layer_norm(
        x.float(), (16,), norm_1.weight.float(), norm_1.bias.float(), norm_1.eps
    )
    assert torch.equal(norm_1(x), wide.bfloat16())


@pytest.mark.parametrize(
    ("images", "prefix", "message"),
    [
        (torch.zeros(2, 3, 12, 9), torch.ones(2), "images must be"),
        (torch.zeros(2, 1, 12, 12), torch.ones(2), "images must be"),
        (torch.zeros(2, 3, 12, 12), torch.ones(1), "prefix must be"),
        (torch.zeros(2, 3, 12, 12), torch.tensor(1), "prefix must be"),
    ],
)
def test_wrong_shapes_are_refused(images, prefix, message):
    with pytest.raises(ValueError, match=message):
        AIM(CONFIG)(images, prefix)
