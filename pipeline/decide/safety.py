"""Safety: drop what a model, or the source, scores as unsafe. Nothing passes unscored."""

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.decide.rules import Numbers, numbers, shown
from pipeline.decide.verdict import Reason, Verdicts
from pipeline.settings import Settings


class SafetyConfig(Settings):
    """Scores above which an image is unsafe."""

    max: dict[str, float] = Field(min_length=1)
    """The highest score that passes, by ledger column: a model's, or one that the source tells.
    CommonPool's own images and captions were held to 0.1 (DataComp, appendices D and E)."""


def columns(config: SafetyConfig) -> set[str]:
    """Ledger columns that the rule reads."""
    return set(config.max)


def drop_unsafe(verdicts: Verdicts, rows: pa.Table, config: SafetyConfig) -> None:
    """Drops rows that score too high, and rows without a score: who was not looked at may be
    anything. Columns are tried in the order of their names.
    """
    for column, limit in sorted(config.max.items()):
        _drop_above(verdicts, numbers(rows, column), column, limit)


def _drop_above(verdicts: Verdicts, score: Numbers, column: str, limit: float) -> None:
    verdicts.drop(~np.isfinite(score), Reason.UNSAFE, lambda row: f"no {column}")
    verdicts.drop(
        score > limit,
        Reason.UNSAFE,
        lambda row: f"{column} {shown(score[row])} is over {shown(limit)}",
    )
