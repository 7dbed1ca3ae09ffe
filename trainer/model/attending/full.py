"""Every prefix is the whole sequence, whatever it says: bidirectional attention, without a mask."""

from torch import Tensor
from torch.nn import functional as F


def prepare(prefix: Tensor, length: int) -> None:
    """Nothing is needed."""


def attend(q: Tensor, k: Tensor, v: Tensor, mask: None) -> Tensor:
    """Every query sees every key."""
    return F.scaled_dot_product_attention(q, k, v)
