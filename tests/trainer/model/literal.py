"""The forward pass again, from the specification: no modules of ours, no fused operations.

One image at a time, in float64. Weights are a state dict. `cells` is an order, a list.
"""

import math

import torch

from trainer.model.aim import AIM
from trainer.model.sizes import ModelConfig

CONFIG = ModelConfig(
    image_size=12,
    patch_size=3,
    embed_dim=16,
    depth=2,
    num_heads=2,
    head_width=24,
    head_depth=2,
)
K = CONFIG.num_patches


def tiny_model(dtype=torch.float64, outputs=None, order="raster", mask_token=False, **changes):
    """A model whose every parameter is random: no zeros or ones that would hide a mistake."""
    config = ModelConfig(**CONFIG.model_dump() | changes)
    model = AIM(config, outputs, order, mask_token).to(dtype)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    model.reset_buffers()
    return model.eval().requires_grad_(False)


def random_images(count, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, 12, 12, generator=generator, dtype=dtype)


def change_cell(images, cell):
    """The same images with another patch there."""
    row, column = divmod(cell, CONFIG.grid_size)
    images = images.clone()
    images[:, :, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3] += 1
    return images


def norm(x, weights, name, eps):
    x = x - x.mean(-1, keepdim=True)
    x = x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def mlp(x, weights, name):
    x = x @ weights[f"{name}.fc1.weight"].T
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2 @ weights[f"{name}.fc2.weight"].T


def position_code(width, grid, cells):
    codes = []
    for cell in cells:
        code = []
        for place in (cell % grid, cell // grid):  # column, row
            angles = [place / 10000 ** (4 * i / width) for i in range(width // 4)]
            code += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        codes.append(code)
    return torch.tensor(codes, dtype=torch.float64)


def embed(image, weights, config, cells, hidden):
    p, name = config.patch_size, "preprocessor.patchifier"
    tokens = []
    for cell in cells:
        row, column = divmod(cell, config.grid_size)
        patch = image[:, row * p : row * p + p, column * p : column * p + p]
        tokens.append(
            torch.stack([(patch * kernel).sum() for kernel in weights[f"{name}.proj.weight"]])
        )
    x = torch.stack(tokens) + weights[f"{name}.proj.bias"]
    x = norm(x, weights, f"{name}.norm", config.norm_eps)
    for i in hidden:
        x[i] = weights["preprocessor.mask_token"][0, 0]
    return x + position_code(config.embed_dim, config.grid_size, cells)


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


def block(x, weights, name, eps, heads, prefix):
    x = x + attention(
        norm(x, weights, f"{name}.norm_1", eps), weights, f"{name}.attn", heads, prefix
    )
    return x + mlp(norm(x, weights, f"{name}.norm_2", eps), weights, f"{name}.mlp")


def trunk(image, prefix, weights, config, cells, hidden=()):
    x, eps = embed(image, weights, config, cells, hidden), config.norm_eps
    for i in range(config.depth):
        x = block(x, weights, f"trunk.blocks.{i}", eps, config.num_heads, prefix)
    return norm(x, weights, "trunk.post_trunk_norm", eps)


def head(x, prefix, weights, config, cells):
    eps, name = config.norm_eps, "pixel_head.decoder"
    if config.head_kind == "none":
        return linear(x, weights, f"{name}_pred")
    x = linear(x, weights, f"{name}_projection")
    x = x + position_code(config.head_width, config.grid_size, cells)
    for i in range(config.head_depth):
        inner = f"{name}_blocks.{i}"
        if config.head_kind == "transformer":
            heads = config.head_width * config.num_heads // config.embed_dim
            x = block(x, weights, inner, eps, heads, prefix)
            continue
        if config.head_block == "official":
            x = x + norm(x, weights, f"{inner}.norm_1", eps)
        x = x + mlp(norm(x, weights, f"{inner}.norm_2", eps), weights, f"{inner}.mlp")
    return linear(norm(x, weights, f"{name}_norm", eps), weights, f"{name}_pred")
