"""The best cell of a grid, by what a validation's line of the log says of each."""

import math
from typing import Any

from pipeline.format.errors import HeadraceError
from trainer.probing.cells import Layers

Probes = dict[str, dict[str, Any]]
"""The `probes` of a line of the log: name of a cell → its figures."""


def chosen(probes: Probes, kind: str) -> tuple[str, dict[str, Any]]:
    """Name and figures of the best cell of a kind: the most often right on the held-out images, or
    on the test set where none were held out; of equals the one of less loss, then the first name.

    Raises HeadraceError if there is none of the kind.
    """
    cells = {name: cell for name, cell in probes.items() if cell["kind"] == kind}
    if not cells:
        raise HeadraceError(f"kinds: no {kind} probe was trained; name it there")
    best = min(cells, key=lambda name: (*_rank(cells[name]), name))
    return best, cells[best]


def best_window(probes: Probes) -> Layers:
    """The blocks that the best attentive cell reads; the best linear one's if there is no other."""
    kinds = {cell["kind"] for cell in probes.values()}
    _, cell = chosen(probes, "attentive" if "attentive" in kinds else "linear")
    return tuple(cell["layers"])


def judged_on(cell: dict[str, Any]) -> str:
    """What chooses: "held_out" or "test"."""
    return "held_out" if cell["held_out"] else "test"


def _rank(cell: dict[str, Any]) -> tuple[float, float]:
    """Less is better. A loss that is not finite is null in the log."""
    figures = cell[judged_on(cell)]
    loss = figures["loss"]
    known = loss is not None and math.isfinite(loss)
    return -figures["top1"] / figures["n"], loss if known else math.inf
