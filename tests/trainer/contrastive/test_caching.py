"""The gradient of a contrast in parts is that of the whole."""

import open_clip
import pytest
import torch

from tests.trainer.contrastive.models import TIMM, VIT, build, pairs
from trainer.contrastive.caching import backward, backward_in_parts
from trainer.contrastive.towers import Towers

LOSS = open_clip.ClipLoss()
TOLERANCE = 1e-5
"""Of a gradient's largest value: float32 sums in another order."""


def gradients(towers: Towers) -> dict[str, torch.Tensor]:
    return {name: parameter.grad for name, parameter in towers.named_parameters()}


@pytest.mark.parametrize("fields", [VIT, TIMM])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_parts_have_the_gradient_of_the_whole_batch(fields, parts):
    images, tokens = pairs(8)
    whole, cut = (Towers(build(fields)) for _ in range(2))
    loss = backward(LOSS, whole(images, tokens))

    def features(part: int, last: bool):
        return cut(images.chunk(parts)[part], tokens.chunk(parts)[part])

    in_parts, seen = backward_in_parts(LOSS, parts, features)
    assert in_parts.item() == pytest.approx(loss.item(), rel=1e-6)
    assert [len(image) for image, _, _ in seen] == [8 // parts] * parts
    for name, gradient in gradients(whole).items():
        scale = gradient.abs().max().item()
        assert torch.allclose(gradient, gradients(cut)[name], rtol=0, atol=TOLERANCE * scale), name


def test_a_last_backward_pass_is_announced_once_and_last():
    towers, (images, tokens), said = Towers(build(VIT)), pairs(8), []

    def features(part: int, last: bool):
        said.append((part, last))
        return towers(images.chunk(2)[part], tokens.chunk(2)[part])

    backward_in_parts(LOSS, 2, features)
    assert said == [(0, False), (1, False), (0, False), (1, True)]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_leaves_no_gradient_finite(value):
    images, tokens = pairs(8)
    images[5] = value
    for parts in (1, 2):
        towers = Towers(build(VIT))

        def features(part: int, last: bool, towers=towers, parts=parts):
            return towers(images.chunk(parts)[part], tokens.chunk(parts)[part])

        loss, _ = backward_in_parts(LOSS, parts, features)
        assert not loss.isfinite()
        assert not any(g.isfinite().all() for g in gradients(towers).values() if g is not None)
