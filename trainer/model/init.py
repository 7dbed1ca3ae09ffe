"""How parameters begin: a pure function of their names, their shapes and a generator."""

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

MASK_TOKEN_DEVIATION = 0.02
"""Of the mask token, as of all weights of BEiT (Bao et al., arXiv 2106.08254, code)."""


def initial_value(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """The first value of the parameter `name`, float32 on the generator's device.

    Biases are 0 and norm weights 1. Everything else is Xavier-uniform, a convolution
    viewed as a matrix. The training code keeps q, k and v as three linears, so each
    third of a fused qkv is drawn as a matrix of its own. The mask token, which AIM's code does
    not have, is normal, as in BEiT.
    """
    device = generator.device
    if name.endswith("bias"):
        return torch.zeros(shape, device=device)
    if "norm" in name:
        return torch.ones(shape, device=device)
    if name.endswith("mask_token"):
        return torch.empty(shape, device=device).normal_(
            std=MASK_TOKEN_DEVIATION, generator=generator
        )
    matrix = torch.empty(shape, dtype=torch.float32, device=device).flatten(1)  # (out, in)
    for part in matrix.chunk(3) if name.endswith("qkv.weight") else [matrix]:
        torch.nn.init.xavier_uniform_(part, generator=generator)
    return matrix.view(shape)


@torch.no_grad()
def assign(parameter: Tensor, value: Tensor) -> None:
    """Copy a full value into a parameter; of a sharded one, each rank takes its piece.

    Ranks that hold the same `value` need no communication.
    """
    if isinstance(parameter, DTensor):
        mesh, placements = parameter.device_mesh, parameter.placements
        value = distribute_tensor(value, mesh, placements, src_data_rank=None)
    parameter.copy_(value)
