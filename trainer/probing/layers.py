"""Which blocks a probe reads."""

from collections.abc import Sequence

from pipeline.format.errors import HeadraceError
from trainer.frozen import AVERAGED, Frozen, best_layers, last_layers
from trainer.probing.cells import Layers


def windows(depth: int, count: int = AVERAGED) -> list[Layers]:
    """All windows of `count` neighbouring blocks, from the first to the last; of a trunk of fewer
    blocks, all of them."""
    if depth <= count:
        return [tuple(range(depth))]
    return [tuple(range(first, first + count)) for first in range(depth - count + 1)]


def resolved(layers: str | Sequence[int], frozen: Frozen) -> list[Layers]:
    """The windows that a config's `layers` asks for, of this trunk; one but for "search".

    Raises HeadraceError if the trunk has no such blocks, or no published "best" ones.
    """
    if layers == "last":
        return [last_layers(frozen.depth)]
    if layers == "best":
        return [best_layers(frozen.model.config)]
    if isinstance(layers, str):
        return windows(frozen.depth)
    if max(layers) >= frozen.depth:
        raise HeadraceError(
            f"layers: {max(layers)} is no block of a trunk of {frozen.depth}, which are 0 to "
            f"{frozen.depth - 1}; name some of those"
        )
    return [tuple(layers)]
