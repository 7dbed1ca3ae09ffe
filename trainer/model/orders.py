"""Orders: in which sequence the cells of the patch grid are read.

Shapes: K = grid² cells, numbered row by row. An order lists the cell of each sequence position.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from trainer.stream import keyed


def raster(grid: int) -> list[int]:
    """Row by row from the upper left, as text is read; the paper's default (AIM §4.1)."""
    return list(range(grid**2))


def reversed_raster(grid: int) -> list[int]:
    """Row by row from the lower right, each row leftwards."""
    return raster(grid)[::-1]


def column_major(grid: int) -> list[int]:
    """Column by column from the upper left, each column downwards."""
    return [row * grid + column for column in range(grid) for row in range(grid)]


def spiral(grid: int) -> list[int]:
    """From the centre outwards, ending in the upper left corner.

    It is a walk from that corner that first goes down, turns left at walls and at cells it has
    visited, and ends in the centre; read backwards (apple/ml-l3m, helpers/vision/ar_patterns.py).
    """
    walk, row, column, down, right = [0], 0, 0, 1, 0
    while len(walk) < grid**2:
        cell = (row + down) * grid + column + right
        inside = 0 <= row + down < grid and 0 <= column + right < grid
        if inside and cell not in walk:
            row, column = row + down, column + right
            walk.append(cell)
        else:
            down, right = -right, down  # down → right → up → left
    return walk[::-1]


def checkerboard(grid: int) -> list[int]:
    """The cells whose row + column is even, row by row, then the odd ones."""
    return sorted(raster(grid), key=lambda cell: (sum(divmod(cell, grid)) % 2, cell))


def random_fixed(grid: int) -> list[int]:
    """One permutation drawn once and for all: the same for all images, runs and seeds.

    The training code writes two of its own out, for 256 and 196 cells; this one has any size.
    """
    cells = keyed.permute(np.arange(grid**2), grid**2, keyed.base_key("order", "random_fixed"))
    return [int(cell) for cell in cells]


ORDERS: dict[str, Callable[[int], list[int]]] = {
    "raster": raster,
    "reversed_raster": reversed_raster,
    "column_major": column_major,
    "spiral": spiral,
    "checkerboard": checkerboard,
    "random_fixed": random_fixed,
}
"""Every order by its name (AIM table 3b, and variants of the training code)."""


def order(kind: str, grid: int) -> Tensor:
    """The cell of each sequence position, (K,) int64 on the CPU; `argsort` is the inverse.

    Raises ValueError if no order has this name.
    """
    if kind not in ORDERS:
        raise ValueError(f"no order {kind!r}; choose one of {', '.join(ORDERS)}")
    return torch.tensor(ORDERS[kind](grid), dtype=torch.int64, device="cpu")


class Arrange(nn.Module):
    """Puts tokens that come row by row into the sequence of an order.

    Like the position code, the order is a buffer that no checkpoint stores.
    """

    cells: Tensor | None

    def __init__(self, kind: str, grid: int):
        super().__init__()
        self.kind, self.grid = kind, grid
        cells = None if kind == "raster" else torch.empty(grid**2, dtype=torch.int64)
        self.register_buffer("cells", cells, persistent=False)
        self.reset_buffers()

    def reset_buffers(self) -> None:
        """Write the order into the buffer; nothing on the meta device."""
        if self.cells is not None:
            self.cells.copy_(order(self.kind, self.grid))

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, D), row by row → (B, K, D), in the order."""
        return x if self.cells is None else x.index_select(1, self.cells)
