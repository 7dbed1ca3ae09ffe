"""A head is the release's, computed another way."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.trainer.probing.plain import Plain
from trainer.model.sizes import SIZES
from trainer.probing.heads import Attentive, Linear, Norm, init_weights, logits

B, K, D, H, C = 6, 9, 32, 4, 7


def features(seed: int = 0, offset: float = 3.0) -> Tensor:
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(B, K, D, generator=drawn) * torch.arange(1, D + 1) + offset


def head(kind: type = Attentive, seed: int = 0) -> Attentive | Linear:
    made = kind(Norm(D), D, H, C)
    init_weights(made, seed)
    return made


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x.flatten(0, 1), dim=0, correction=0)
    return mean, variance


def test_our_state_is_the_releases_and_both_give_the_same_logits_and_gradients():
    ours, plain = head(), Plain(D, H, C)
    ours.cls_token.data.mul_(50)  # so that attention is far from even
    plain.load_state_dict(ours.state_dict())
    x, labels = features(), torch.arange(B) % C
    expected = plain(x)
    functional.cross_entropy(expected, labels).backward()
    mean, variance = moments(x)
    (found,) = logits([ours], ours.bn(x.clone(), mean, variance))
    functional.cross_entropy(found, labels).backward()
    assert torch.allclose(found, expected, atol=1e-5)
    for name, parameter in plain.named_parameters():
        gradient = ours.get_parameter(name).grad
        assert torch.allclose(gradient, parameter.grad, atol=1e-5 * parameter.grad.abs().max())


def test_running_averages_are_torchs_and_serve_evaluation():
    ours, plain = head(), Plain(D, H, C)
    plain.load_state_dict(ours.state_dict())
    for seed in range(3):
        x = features(seed, offset=seed)
        plain(x)
        ours.bn.track(*moments(x), torch.tensor(float(B * K)))
    for name, buffer in plain.bn.named_buffers():
        assert torch.allclose(ours.bn.get_buffer(name), buffer, rtol=1e-5), name
    plain.eval()
    x = features(9)
    (found,) = logits([ours], ours.bn.average(x.clone()))
    assert torch.allclose(found, plain(x), atol=1e-5)


def test_a_batch_that_is_not_finite_leaves_the_running_averages_alone():
    norm = Norm(D)
    broken = torch.full((D,), float("nan"))
    norm.track(broken, broken, torch.tensor(4.0))
    assert all(
        torch.equal(left, right)
        for left, right in zip(norm.buffers(), Norm(D).buffers(), strict=True)
    )


def test_heads_side_by_side_are_each_what_they_are_alone():
    heads = [head(Attentive, 0), head(Linear, 1), head(Attentive, 2)]
    x = features()
    for one, found in zip(heads, logits(heads, x), strict=True):
        assert torch.allclose(found, logits([one], x)[0], atol=1e-4)


def test_a_linear_probe_reads_the_mean_over_patches():
    one, x = head(Linear), features()
    assert torch.allclose(logits([one], x)[0], x.mean(1) @ one.linear.weight.T)


def test_first_values_are_of_the_release_and_alike_in_all_cells():
    one, again, other = head(), head(), head(seed=1)
    state = one.state_dict()
    assert all(torch.equal(state[name], value) for name, value in again.state_dict().items())
    assert not torch.equal(one.k.weight, other.k.weight)
    assert not torch.equal(one.k.weight, one.v.weight)
    assert one.k.weight.abs().max() <= D**-0.5
    wide = Attentive(Norm(4096), 4096, 32, 2)
    init_weights(wide, 0)
    assert wide.cls_token.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("name", ["aim-600m", "aim-1b", "aim-3b", "aim-7b"])
def test_parameters_are_as_many_as_the_paper_counts(name):
    """AIM eq. 4: 2 D² + D to pool, D · classes to classify."""
    width, classes = SIZES[name].embed_dim, 1000
    with torch.device("meta"):
        made = Attentive(Norm(width), width, SIZES[name].num_heads, classes)
    counted = sum(parameter.numel() for parameter in made.parameters())
    assert counted == 2 * width**2 + width + width * classes
