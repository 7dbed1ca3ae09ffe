import shutil

import pytest
import torch
from torch import nn
from torch.distributed import HashStore, destroy_process_group, init_process_group
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from trainer.model.attending.choose import KERNELS, prepare
from trainer.model.attending.mask import prefix_mask
from trainer.model.attention import Attention
from trainer.model.trunk import Block

DIM, HEADS, K = 32, 2, 9
TRAINS_HERE = [name for name in KERNELS if name != "flex"]
"""Flex needs a GPU to train."""


@pytest.fixture
def attention():
    module = Attention(DIM, HEADS).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return module


def tokens(images=3):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(images, K, DIM, generator=generator, dtype=torch.float64)


def gradients(module, x, seen):
    """The output, and what its sum of squares teaches the weights."""
    out = module(x, seen)
    return out.detach(), *torch.autograd.grad(out.square().sum(), list(module.parameters()))


def test_it_is_torchs_multi_head_attention_with_q_k_and_v_in_this_order(attention):
    x, prefix = tokens(1), torch.tensor([4])
    theirs, _ = F.multi_head_attention_forward(
        *[x.transpose(0, 1)] * 3,
        embed_dim_to_check=DIM,
        num_heads=HEADS,
        in_proj_weight=attention.qkv.weight,
        in_proj_bias=None,
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=attention.proj.weight,
        out_proj_bias=None,
        attn_mask=~prefix_mask(prefix, K)[0, 0],  # theirs is True where nothing is seen
    )
    torch.testing.assert_close(attention(x, prepare("auto", prefix, K)), theirs.transpose(0, 1))


@pytest.mark.parametrize("kernel", TRAINS_HERE)
def test_what_is_seen_passes_into_a_compiled_module_that_serves_every_prefix(attention, kernel):
    """One graph, and none anew for the next step's prefixes. The compiler itself is not asked."""
    compiled = torch.compile(attention, fullgraph=True, backend="aot_eager")
    for stance, prefix in [("default", [1, 4, K]), ("fail_on_recompile", [2, K - 1, 3])]:
        seen = prepare(kernel, torch.tensor(prefix), K)
        with torch.compiler.set_stance(stance):
            found = gradients(compiled, tokens(), seen)
        torch.testing.assert_close(found, gradients(attention, tokens(), seen))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("kernel", TRAINS_HERE)
def test_a_compiled_block_computes_what_the_block_does(kernel):
    """As the trainer compiles it: one graph, by torch's own compiler."""
    block, x = Block(DIM, HEADS, mlp_ratio=2, eps=1e-5), tokens().float()
    seen = prepare(kernel, torch.tensor([1, 4, K]), K)
    found = gradients(torch.compile(block, fullgraph=True), x, seen)
    torch.testing.assert_close(found, gradients(block, x, seen), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", TRAINS_HERE)
def test_what_is_seen_passes_into_a_recomputed_module(attention, kernel):
    seen = prepare(kernel, torch.tensor([1, 4, K]), K)
    again = checkpoint(attention, tokens(), seen, use_reentrant=False)
    found = torch.autograd.grad(again.square().sum(), list(attention.parameters()))
    torch.testing.assert_close((again, *found), gradients(attention, tokens(), seen))


@pytest.mark.parametrize("kernel", TRAINS_HERE)
def test_what_is_seen_passes_into_a_sharded_module_uncast(attention, kernel, one_rank):
    seen = prepare(kernel, torch.tensor([1, 4, K]), K)
    wanted = gradients(attention, tokens(), seen)
    narrow = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    fully_shard(attention, mesh=one_rank, mp_policy=narrow)
    out = attention(tokens(), seen)
    out.square().sum().backward()
    found = out, *(parameter.grad.full_tensor() for parameter in attention.parameters())
    for one, other in zip(found, wanted, strict=True):
        assert (one.double() - other).norm() < 0.02 * other.norm()


@pytest.fixture
def one_rank():
    init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    destroy_process_group()
