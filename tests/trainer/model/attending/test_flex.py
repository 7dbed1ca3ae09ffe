import pytest
import torch

from trainer.model.attending.choose import attend, prepare

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def drawn(K, head_dim, device, dtype=torch.float32):
    generator = torch.Generator().manual_seed(K * head_dim)
    return torch.randn((4, 4, 2, K, head_dim), generator=generator).to(device, dtype)


@pytest.mark.parametrize("K", [9, 130, 256])
def test_the_block_mask_holds_the_pairs_of_the_mask(K):
    """130 leaves a part of a tile; with 256 some prefixes leave a tile out."""
    prefix = torch.tensor([1, 2, K // 2, K - 1, K])
    with torch.no_grad():
        seen = prepare("flex", prefix, K).mask
        q, k, v = drawn(K, 32, "cpu", torch.float64)[:3, :1].expand(3, len(prefix), 2, K, 32)
        found = torch.compile(attend, fullgraph=True, backend="aot_eager")(
            q, k, v, prepare("flex", prefix, K)
        )
        torch.testing.assert_close(found, attend(q, k, v, prepare("mask", prefix, K)))
    assert seen.shape == (len(prefix), 1, K, K)


def test_to_train_without_a_gpu_is_refused_with_what_works():
    with pytest.raises(ValueError, match=r'"flex" cannot train on cpu.*use "auto" or "mask"'):
        prepare("flex", torch.tensor([1]), 4)


@needs_gpu
@pytest.mark.parametrize("head_dim", [32, 64, 128])
@pytest.mark.parametrize("K", [255, 256])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-2), (torch.bfloat16, 5e-2)])
def test_on_a_gpu_flex_and_its_gradients_are_the_masks(K, head_dim, dtype, close):
    """float32 too is looser than on a CPU: tensor cores may round the products to TF32."""
    *qkv, grad = drawn(K, head_dim, "cuda", dtype)
    prefix = torch.tensor([1, 2, K - 1, K], device="cuda")

    def results(kernel, dtype):
        inputs = [x.to(dtype).requires_grad_() for x in qkv]
        out = attend(*inputs, prepare(kernel, prefix, K))
        return [out, *torch.autograd.grad(out, inputs, grad.to(dtype))]

    for one, other in zip(results("flex", dtype), results("mask", torch.float64), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=close, atol=close)
