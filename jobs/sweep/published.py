"""What the paper has in tables 2 to 5 (arXiv 2401.08541): top-1 on IN-1k in percent, and its order.

A figure that we could not read in the paper itself is `unconfirmed`: it is shown as such. Which of
two such rows is better is confirmed by the paper's text for tables 3a, 3d and 3f.
"""

from itertools import combinations
from typing import NamedTuple

ATTENTIVE, LINEAR, LOSS = "attentive", "linear", "validation loss"


class Published(NamedTuple):
    """A row of the paper."""

    linear: float | None
    attentive: float
    unconfirmed: bool = False


class Claim(NamedTuple):
    """That one row is better than another."""

    better: str
    worse: str
    measure: str
    """ATTENTIVE or LINEAR, where more is better, or LOSS."""
    points: float | None
    """By how much; None where a figure shows it without numbers."""
    where: str


DEFAULT = Published(70.0, 78.2)

TABLES: dict[str, dict[str, Published]] = {
    "data-mix": {
        "target": Published(None, 73.5),
        "web": Published(None, 74.5),
        "mix": Published(None, 75.6),
    },
    "target": {
        "pixels": Published(67.5, 76.2, unconfirmed=True),
        "pixels-norm": DEFAULT,
        "kmeans": Published(66.6, 75.9, unconfirmed=True),
        "tokens": Published(64.0, 74.5, unconfirmed=True),
    },
    "order": {
        "raster": Published(69.5, 77.4),
        "spiral": Published(67.7, 76.3),
        "checkerboard": Published(68.2, 76.0),
        "random_fixed": Published(65.8, 75.7),
    },
    "crop-scale": {
        "0.08": Published(68.4, 77.7),
        "0.4": DEFAULT,
        "1": Published(49.6, 63.5),
    },
    "attention": {
        # The first equals the raster row of table 3b, which is confirmed, but was not read here.
        "causal-causal": Published(69.5, 77.4, unconfirmed=True),
        "causal-bidirectional": Published(30.9, 52.3, unconfirmed=True),
        "prefix-causal": Published(68.4, 76.9, unconfirmed=True),
        "prefix-bidirectional": DEFAULT,
    },
    "head": {
        "none": Published(64.0, 75.4),
        "mlp": DEFAULT,
        "transformer": Published(70.5, 78.5),
    },
    "trunk-shape": {"deep": Published(68.8, 77.9, unconfirmed=True), "wide": DEFAULT},
    "head-width": {
        "quarter": Published(69.4, 77.7),
        "half": Published(69.6, 78.1),
        "whole": DEFAULT,
    },
    "head-depth": {
        "half": Published(65.3, 76.2),
        "two-thirds": Published(68.1, 77.1),
        "whole": DEFAULT,
    },
    "objective": {
        "ar": Published(None, 78.2),
        "masked-50": Published(None, 70.3),
        "masked-75": Published(None, 77.8),
    },
}
"""Ablation → row → figures."""

FIGURE_5 = [
    Claim("mix", "target", LOSS, None, "figure 5"),
    Claim("mix", "web", LOSS, None, "figure 5"),
]
"""On IN-1k's validation set the mix ends lowest; IN-1k alone turns up again before."""


def claims(ablation: str) -> list[Claim]:
    """Every pair of rows that the paper orders, by each measure; rows that tie are none."""
    rows = TABLES[ablation]
    found = [
        _claim(one, other, measure, rows)
        for measure in (ATTENTIVE, LINEAR)
        for one, other in combinations(rows, 2)
    ]
    return [claim for claim in found if claim] + (FIGURE_5 if ablation == "data-mix" else [])


def _claim(one: str, other: str, measure: str, rows: dict[str, Published]) -> Claim | None:
    values = getattr(rows[one], measure), getattr(rows[other], measure)
    if None in values or values[0] == values[1]:
        return None
    better, worse = (one, other) if values[0] > values[1] else (other, one)
    unconfirmed = rows[one].unconfirmed or rows[other].unconfirmed
    points = round(abs(values[0] - values[1]), 1)
    return Claim(better, worse, measure, points, "unconfirmed" * unconfirmed or "table")
