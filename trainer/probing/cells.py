"""The heads that one run trains side by side: a cell for each kind, rate, decay and window."""

from collections.abc import Sequence
from itertools import product
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, Field, NonNegativeFloat, PositiveFloat

Kind = Literal["attentive", "linear"]
Layers = tuple[int, ...]
"""Blocks whose outputs are averaged, by number from 0, ascending."""


Value = TypeVar("Value")


def distinct(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """The values. Raises ValueError if one is there twice: cells are told apart by them."""
    if repeated := [value for value in values if values.count(value) > 1]:
        raise ValueError(f"{repeated[0]!r} is named twice; name each once")
    return values


class GridConfig(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """What is tried, in one pass; the defaults are AIMv2's (arXiv 2411.14402, appendix)."""

    lr: Annotated[tuple[PositiveFloat, ...], AfterValidator(distinct)] = Field(
        default=(5e-5, 1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3), min_length=1
    )
    """Peak learning rates."""

    weight_decay: Annotated[tuple[NonNegativeFloat, ...], AfterValidator(distinct)] = Field(
        default=(0.05, 0.1), min_length=1
    )
    """Decoupled decays of all of a head's weights."""

    def middle(self) -> "GridConfig":
        """The one cell in its middle, the lower one of two."""
        return GridConfig(lr=(_middle(self.lr),), weight_decay=(_middle(self.weight_decay),))


class Cell(NamedTuple):
    """What makes one head another than the next."""

    kind: Kind
    lr: float
    weight_decay: float
    layers: Layers


def cells(kinds: Sequence[Kind], grid: GridConfig, windows: Sequence[Layers]) -> list[Cell]:
    """All of them, by window, then kind, then rate, then decay."""
    every = product(windows, kinds, grid.lr, grid.weight_decay)
    return [Cell(kind, lr, decay, layers) for layers, kind, lr, decay in every]


def name(cell: Cell, windows: int) -> str:
    """`attentive/lr=0.001,wd=0.05`, with `,layers=4-9` where there are several windows."""
    named = f"{cell.kind}/lr={cell.lr},wd={cell.weight_decay}"
    return named if windows == 1 else f"{named},layers={cell.layers[0]}-{cell.layers[-1]}"


def _middle(values: tuple[float, ...]) -> float:
    return sorted(values)[(len(values) - 1) // 2]
