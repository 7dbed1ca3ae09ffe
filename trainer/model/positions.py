"""The fixed position code of the patch grid."""

import torch
from torch import Tensor, nn

from trainer.model.orders import order

WAVELENGTH_BASE = 10000.0
"""Ratio of the longest to the shortest wavelength (Vaswani et al. 2017, §3.5; AIM release)."""


def sincos_1d(positions: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of positions (N,) at width/2 frequencies: (N, width)."""
    half = width // 2
    exponents = torch.arange(half, dtype=positions.dtype, device=positions.device) / half
    frequencies = WAVELENGTH_BASE**-exponents
    angles = positions[:, None] * frequencies  # (N, width/2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sincos_2d(width: int, grid_size: int) -> Tensor:
    """The position code of a square grid, patches row by row: (K, width) float64 on the CPU.

    The first width/2 channels encode the *column*, the others the *row*; inside each
    half sines come first. Released weights depend on this layout, and at least one
    port has the halves swapped. `width` is a multiple of 4. Computed in float64 on
    the CPU, so that it is the same on every device.
    """
    line = torch.arange(grid_size, dtype=torch.float64, device="cpu")
    columns = line.repeat(grid_size)  # 0 1 2 .. 0 1 2 ..
    rows = line.repeat_interleave(grid_size)  # 0 0 0 .. 1 1 1 ..
    return torch.cat([sincos_1d(columns, width // 2), sincos_1d(rows, width // 2)], dim=1)


class GridPosition(nn.Module):
    """Adds the fixed position code of a square grid to its tokens, read in some order.

    The code is a buffer that no checkpoint stores, so after building on the meta device
    and `to_empty` it holds rubbish until `reset_buffers`; `AIM.materialise` does both.
    """

    code: Tensor

    def __init__(self, width: int, grid_size: int, kind: str = "raster"):
        super().__init__()
        self.width, self.grid_size, self.kind = width, grid_size, kind
        code = torch.empty(grid_size**2, width)
        self.register_buffer("code", code, persistent=False)
        self.reset_buffers()

    def reset_buffers(self) -> None:
        """Write the code into the buffer, in its dtype; nothing on the meta device."""
        cells = order(self.kind, self.grid_size)
        self.code.copy_(sincos_2d(self.width, self.grid_size)[cells])

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Tokens plus the code of their cells; the usual promotion decides the dtype.

        x: (B, K, width) in sequence order, or the (M, width) of them that `rows` (M,) int64
        names by b * K + sequence position.
        """
        if rows is None:
            return x + self.code
        return x + self.code.index_select(0, rows % len(self.code))
