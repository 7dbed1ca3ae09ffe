"""Rules that look at one row alone: readable, large enough, not a strip, with a caption."""

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.decide.verdict import Reason, Verdicts
from pipeline.settings import Settings


class RulesConfig(Settings):
    """Thresholds of the row rules; the defaults drop nothing but what cannot be read."""

    min_side: int = Field(default=0, ge=0)
    """Drop images whose shorter side has fewer pixels. DataComp's basic filter uses 200."""

    max_aspect: float | None = Field(default=None, ge=1)
    """Drop images whose longer side is more than so many times the shorter. DataComp: 3."""

    min_caption_words: int = Field(default=0, ge=0)
    """Drop captions of fewer words. DataComp asks for more than 2, so 3."""

    min_caption_characters: int = Field(default=0, ge=0)
    """Drop captions of fewer characters. DataComp asks for more than 5, so 6."""


def drop_unreadable(verdicts: Verdicts, rows: pa.Table) -> None:
    """Drops what could not be read or decoded; the ledger says why."""
    errors = rows["error"].to_pylist()
    mask = np.array([error is not None for error in errors], bool)
    verdicts.drop(mask, Reason.UNREADABLE, lambda row: errors[row])


def drop_by_size(verdicts: Verdicts, rows: pa.Table, config: RulesConfig) -> None:
    """Drops small and strip-shaped images."""
    width = rows["width"].fill_null(0).to_numpy()
    height = rows["height"].fill_null(0).to_numpy()
    shorter, longer = np.minimum(width, height), np.maximum(width, height)
    verdicts.drop(
        shorter < config.min_side,
        Reason.TOO_SMALL,
        lambda row: f"{width[row]} x {height[row]} pixels: a side is under {config.min_side}",
    )
    if config.max_aspect is not None:
        verdicts.drop(
            longer > config.max_aspect * shorter,
            Reason.EXTREME_ASPECT,
            lambda row: f"{width[row]} x {height[row]} is beyond {config.max_aspect:g} : 1",
        )


def drop_by_caption(verdicts: Verdicts, rows: pa.Table, config: RulesConfig) -> None:
    """Drops captions that are too short to say anything."""
    words = rows["caption_words"].to_numpy()
    characters = rows["caption_characters"].to_numpy()
    verdicts.drop(
        words < config.min_caption_words,
        Reason.CAPTION_TOO_SHORT,
        lambda row: f"{words[row]} words, fewer than {config.min_caption_words}",
    )
    verdicts.drop(
        characters < config.min_caption_characters,
        Reason.CAPTION_TOO_SHORT,
        lambda row: f"{characters[row]} characters, fewer than {config.min_caption_characters}",
    )
