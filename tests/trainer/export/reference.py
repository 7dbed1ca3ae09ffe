"""Apple's forward pass written again from the release's description, for a dict of tensors.

Written on its own: nothing here comes from `trainer/`. Shapes: B images, K patches, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def code(width: int, grid: int) -> Tensor:
    """(K, width): sines and cosines of the column, then of the row."""
    quarter = width // 4
    rows = []
    for y in range(grid):
        for x in range(grid):
            steps = [10000.0 ** -(i / quarter) for i in range(quarter)]
            angles = [at * torch.tensor(steps, dtype=torch.float64) for at in (x, y)]
            rows.append(torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)]))
    return torch.stack(rows)


def norm(x: Tensor, weights: dict[str, Tensor], name: str, eps: float) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    scaled = (x - mean) / torch.sqrt(variance + eps)
    return scaled * weights[name + ".weight"] + weights[name + ".bias"]


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, allowed: Tensor) -> Tensor:
    """q, k, v (B, K, D), allowed (B, K, K): heads are neighbouring channels."""
    outputs = []
    for channels in torch.arange(q.shape[-1]).chunk(heads):
        scores = q[..., channels] @ k[..., channels].transpose(1, 2) / len(channels) ** 0.5
        scores = scores.masked_fill(~allowed, -torch.inf)
        outputs.append(scores.softmax(-1) @ v[..., channels])
    return torch.cat(outputs, dim=-1)


def allowed(prefix: list[int], length: int) -> Tensor:
    """(B, K, K): query i sees key j if j lies in the prefix or not after i."""
    rows = [[[j < s or j <= i for j in range(length)] for i in range(length)] for s in prefix]
    return torch.tensor(rows)


def patches(images: Tensor, weights: dict[str, Tensor], eps: float, start: str) -> Tensor:
    """(B, 3, H, W) → (B, K, D): convolution, norm, position code."""
    kernel = weights[start + "patchifier.proj.weight"]
    x = F.conv2d(images, kernel, weights[start + "patchifier.proj.bias"], stride=kernel.shape[-1])
    grid = x.shape[-1]
    x = norm(x.flatten(2).transpose(1, 2), weights, start + "patchifier.norm", eps)
    return x + code(x.shape[-1], grid)


def mlp(x: Tensor, weights: dict[str, Tensor], at: str, eps: float) -> Tensor:
    hidden = norm(x, weights, at + "norm_2", eps) @ weights[at + "mlp.fc1.weight"].T
    return x + gelu(hidden) @ weights[at + "mlp.fc2.weight"].T


def trunk(
    x: Tensor, weights: dict[str, Tensor], depth: int, heads: int, eps: float, prefix: list[int]
) -> list[Tensor]:
    """What each block gives, with the fused names of the release or the separate ones."""
    mask = allowed(prefix, x.shape[1])
    outputs = []
    for number in range(depth):
        at = f"trunk.blocks.{number}."
        y = norm(x, weights, at + "norm_1", eps)
        if at + "attn.qkv.weight" in weights:
            q, k, v = (y @ weights[at + "attn.qkv.weight"].T).chunk(3, dim=-1)
        else:
            q, k, v = (y @ weights[f"{at}attn.{name}_proj.weight"].T for name in "qkv")
        x = x + attention(q, k, v, heads, mask) @ weights[at + "attn.proj.weight"].T
        x = mlp(x, weights, at, eps)
        outputs.append(x)
    return outputs


def head(x: Tensor, weights: dict[str, Tensor], grid: int, depth: int, eps: float) -> Tensor:
    """The training code's head on the normed output of the trunk; its attention is the identity."""
    x = x @ weights["head.decoder_projection.weight"].T + weights["head.decoder_projection.bias"]
    x = x + code(x.shape[-1], grid)
    for number in range(depth):
        at = f"head.decoder_blocks.{number}."
        x = x + norm(x, weights, at + "norm_1", eps)
        x = mlp(x, weights, at, eps)
    x = norm(x, weights, "head.decoder_norm", eps)
    return x @ weights["head.decoder_pred.weight"].T + weights["head.decoder_pred.bias"]
