"""Small models of open_clip's, of each kind that it builds."""

from collections.abc import Iterator
from contextlib import contextmanager

import open_clip
import torch

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 2}
VISION = {"image_size": 32, "patch_size": 8, "layers": 2, "width": 32, "head_width": 16}
VIT = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}
TIMM = {
    "embed_dim": 16,
    "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "token", "image_size": 32},
    "text_cfg": TEXT,
}
CONVNEXT = TIMM | {"vision_cfg": {"timm_model_name": "test_convnext", "image_size": 64}}
SIGLIP = VIT | {"init_logit_bias": -10.0}
RESNET = VIT | {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}}


def dropping(model: dict) -> dict:
    """The same, but half of each image's patches are left out at random."""
    return model | {"vision_cfg": model["vision_cfg"] | {"patch_dropout": 0.5}}


def build(fields: dict, kind: type = open_clip.CLIP, seed: int = 0) -> torch.nn.Module:
    with seeded(seed):
        return kind(**fields)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def pairs(count: int, size: int = 32, context: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and tokens, of a generator of their own."""
    drawn = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, size, size, generator=drawn)
    return images, torch.randint(1, 49407, (count, context), generator=drawn)
