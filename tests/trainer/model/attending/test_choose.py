import pytest
import torch

from trainer.model.attending.choose import KERNELS, attend, prepare

ODD, EVEN = 9, 16
ANY_PREFIX = [name for name in KERNELS if name not in ("mask", "flex", "causal", "full")]
"""`mask` is what they are held against; flex has its own tests."""
EXACT = {"rtol": 1e-10, "atol": 1e-12}


def drawn(K, head_dim, dtype=torch.float64, images=4):
    generator = torch.Generator().manual_seed(K * head_dim)
    shape = (4, images, 2, K, head_dim)
    q, k, v, grad = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    return [x.clone().requires_grad_() for x in (q, k, v)], grad


def lengths(K):
    return torch.tensor([1, 2, K - 1, K])


def results(kernel, prefix, qkv, grad):
    """The output, and what flows back to q, k and v."""
    out = attend(*qkv, prepare(kernel, prefix, grad.shape[-2]))
    assert out.dtype == qkv[0].dtype
    return [out, *torch.autograd.grad(out, qkv, grad)]


@pytest.mark.parametrize("head_dim", [32, 64, 128])
@pytest.mark.parametrize("K", [ODD, EVEN])
@pytest.mark.parametrize("kernel", ANY_PREFIX)
def test_each_kernel_and_its_gradients_are_the_masks(kernel, K, head_dim):
    qkv, grad = drawn(K, head_dim)
    found = results(kernel, lengths(K), qkv, grad)
    wanted = results("mask", lengths(K), qkv, grad)
    torch.testing.assert_close(found, wanted, **EXACT)


@pytest.mark.parametrize("K", [ODD, EVEN])
@pytest.mark.parametrize("kernel", ["causal", "full"])
def test_a_kernel_of_one_prefix_is_the_mask_with_that_prefix_everywhere(kernel, K):
    qkv, grad = drawn(K, 32)
    only = torch.full((4,), {"causal": 1, "full": K}[kernel])
    found = results(kernel, lengths(K), qkv, grad)
    torch.testing.assert_close(found, results("mask", only, qkv, grad), **EXACT)


@pytest.mark.parametrize("kernel", [*ANY_PREFIX, "mask"])
def test_in_bfloat16_each_kernel_is_within_two_hundredths_of_float64(kernel):
    qkv, grad = drawn(ODD, 64, torch.bfloat16)
    found = results(kernel, lengths(ODD), qkv, grad)
    exact = [x.detach().double().requires_grad_() for x in qkv]
    wanted = results("mask", lengths(ODD), exact, grad.double())
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("kernel", [*ANY_PREFIX, "mask", "causal", "full"])
def test_a_row_of_the_prefix_does_not_see_what_comes_after_it(kernel):
    """Only `full` lets it."""
    K, S = 8, 3
    qkv, _ = drawn(K, 32, images=1)
    seen = prepare(kernel, torch.tensor([S]), K)
    before = attend(*qkv, seen)
    with torch.no_grad():
        for changed in qkv[1:]:
            changed[:, :, S:] += 5
    moved = (attend(*qkv, seen) != before).any(-1).any(1)[0]
    assert moved.tolist() == [i >= S or kernel == "full" for i in range(K)]


def test_an_unknown_kernel_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'flash'.*auto, mask, causal_overwrite, flex, causal"):
        prepare("flash", torch.tensor([1]), 4)


def test_auto_is_a_kernel_that_trains_here():
    seen = prepare("auto", torch.tensor([1]), 4)
    assert seen.kernel in KERNELS
    assert seen.kernel not in ("auto", "causal", "full")
