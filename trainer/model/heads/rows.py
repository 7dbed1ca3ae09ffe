"""The scored rows: of all (image, sequence position) pairs, those whose predictions are wanted."""

from torch import Tensor


def scored(x: Tensor, rows: Tensor | None) -> Tensor:
    """(B, K, D) → the (M, D) that `rows` (M,) int64 names by b * K + position; without it, all."""
    return x if rows is None else x.flatten(0, 1).index_select(0, rows)
