"""Adapters: nothing at first, what they say afterwards, and as many as AIM.md counts."""

import pytest
import torch

from tests.trainer.probing.conftest import SHAPE, drawn
from trainer.frozen import means
from trainer.lora.adapters import Adapters, attach, count, merge
from trainer.model.aim import count_parameters
from trainer.model.sizes import SIZES

WINDOW = [tuple(range(2, 8))]
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))
WAYS = [("q", "v", "proj"), ("q", "k", "v", "proj"), ("k",), ("proj",)]


def made(parts, alpha=None) -> Adapters:
    adapters = Adapters(32, 8, 4, parts, alpha)
    adapters.init_weights(0)
    return adapters


def taught(parts, alpha=None) -> Adapters:
    """As if they had learnt: no B is zero."""
    adapters = made(parts, alpha)
    drawn_by = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in adapters.named_parameters():
            if ".up." in name:
                parameter.normal_(std=0.3, generator=drawn_by)
    return adapters


@torch.no_grad()
def features(model) -> torch.Tensor:
    return means(model, IMAGES, WINDOW, "bidirectional")[0]


@pytest.mark.parametrize("parts", WAYS)
def test_an_adapted_trunk_begins_as_the_frozen_one_to_the_bit(parts):
    model = drawn()
    before = features(model)
    attach(model, made(parts))
    assert torch.equal(features(model), before)


@pytest.mark.parametrize("parts", WAYS)
@pytest.mark.parametrize("alpha", [None, 16.0])
def test_merged_weights_compute_what_the_adapters_do(parts, alpha):
    adapted, merged, plain = drawn(), drawn(), drawn()
    adapters = taught(parts, alpha)
    attach(adapted, adapters)
    merge(merged, adapters)
    assert list(merged.state_dict()) == list(plain.state_dict())
    found, wanted = features(merged), features(adapted)
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert (wanted - features(plain)).abs().max() > 0.1


def test_alpha_over_the_rank_is_the_factor():
    weak, strong = taught(("q",)), taught(("q",), alpha=16.0)
    one, four = (a.of(0)["q"].product() for a in (weak, strong))
    assert torch.allclose(4 * one, four)


def test_the_counts_are_the_papers():
    for name, share in (("aim-7b", 0.098), ("aim-600m", 0.26)):
        shape = SIZES[name]
        found = count(shape, 8, ("q", "v", "proj"))
        with torch.device("meta"):
            adapters = Adapters(shape.embed_dim, shape.depth, 8, ("q", "v", "proj"))
        assert found == sum(p.numel() for p in adapters.parameters())
        assert found == 48 * shape.embed_dim * shape.depth
        trunk = count_parameters(shape).backbone
        assert round(100 * found / trunk, 3 if share < 0.1 else 2) == share


def test_first_values_are_kaiming_uniform_and_zero():
    adapters = Adapters(SHAPE.embed_dim, 2, 8, ("q", "v"))
    adapters.init_weights(1)
    drawn_twice = Adapters(SHAPE.embed_dim, 2, 8, ("q", "v"))
    drawn_twice.init_weights(1)
    seen = []
    for (name, one), two in zip(adapters.named_parameters(), drawn_twice.parameters(), strict=True):
        assert torch.equal(one, two)
        if ".up." in name:
            assert not one.any()
        else:
            assert 0.9 * 32**-0.5 < one.abs().max() <= 32**-0.5
            seen.append(one)
    assert not torch.equal(seen[0], seen[1])
