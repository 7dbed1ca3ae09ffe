"""Rules on what was measured of an image: readable, large enough, not a strip, within ranges."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from pipeline.decide.verdict import Mask, Reason, Verdicts
from pipeline.format.errors import HeadraceError
from pipeline.settings import Settings

Numbers = npt.NDArray[Any]


class Range(Settings):
    """The values of one column that pass, both ends included.

    A bound is compared as the column holds it: in a float32 column 0.28 is the nearest float32.
    """

    min: float | None = Field(default=None, allow_inf_nan=False)
    """The least value that passes."""

    max: float | None = Field(default=None, allow_inf_nan=False)
    """The greatest value that passes."""

    missing: Literal["drop", "keep"] = "drop"
    """What happens to a row without a value: what is not known to be in range is out of it."""

    @model_validator(mode="after")
    def _bounds_hold_something(self) -> "Range":
        if self.min is None and self.max is None:
            raise ValueError("a range needs a min or a max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is over max {self.max:g}: nothing would pass")
        return self


class RulesConfig(Settings):
    """Thresholds of the row rules; the defaults drop nothing but what cannot be read."""

    size: Literal["stored", "original"] = "stored"
    """Whose sides are meant: those of the file in the pool, or those that the source tells the
    image had before it was shrunk (`original_width`, `original_height`), as DataComp does."""

    min_side: int = Field(default=0, ge=0)
    """Drop images whose shorter side has fewer pixels. DataComp's basic filter uses 200."""

    max_aspect: float | None = Field(default=None, ge=1)
    """Drop images whose longer side is more than so many times the shorter. DataComp: 3."""

    ranges: dict[str, Range] = Field(default_factory=dict)
    """Bounds on any column of numbers: quality figures, a model's score, what the source tells."""

    min_caption_words: int = Field(default=0, ge=0)
    """Drop captions of fewer words. DataComp's basic filter asks for more than 2, so 3."""

    min_caption_characters: int = Field(default=0, ge=0)
    """Drop captions of fewer characters. DataComp asks for more than 5, so 6."""

    min_caption_tokens: int = Field(default=0, ge=0)
    """Drop captions of fewer fastText tokens, which differ from words: only ASCII spaces part
    them, and each line break is one. DataComp's image_based filter asks for more than 1, so 2."""

    languages: tuple[str, ...] = ()
    """Drop captions in other languages than these (ISO 639 codes); none named, all pass."""

    vocabulary: str | None = Field(default=None, min_length=1)
    """Drop captions without any word of this file: one word a line, lower case."""


def columns(config: RulesConfig) -> set[str]:
    """Ledger columns that the rules of this module read."""
    sides = set(_sides(config)) if _judges_size(config) else set()
    return {"error"} | sides | set(config.ranges)


def drop_unreadable(verdicts: Verdicts, rows: pa.Table) -> None:
    """Drops what could not be read or decoded; the ledger says why."""
    bad = rows["error"].is_valid().to_numpy()
    verdicts.drop(bad, Reason.UNREADABLE, lambda row: rows["error"][row].as_py())


def drop_replaced(verdicts: Verdicts) -> None:
    """Drops all rows of a part that is no more what its source holds."""
    everything: Mask = np.ones(len(verdicts.kept), bool)
    detail = "the source has other bytes now, which are another part"
    verdicts.drop(everything, Reason.SOURCE_REPLACED, lambda row: detail)


def drop_by_size(verdicts: Verdicts, rows: pa.Table, config: RulesConfig) -> None:
    """Drops small and strip-shaped images, and those whose size is not known."""
    if not _judges_size(config):
        return
    width, height = (rows[name].fill_null(0).to_numpy() for name in _sides(config))
    shorter, longer = np.minimum(width, height), np.maximum(width, height)
    verdicts.drop(shorter <= 0, Reason.TOO_SMALL, lambda row: f"its {config.size} size is unknown")
    verdicts.drop(
        shorter < config.min_side,
        Reason.TOO_SMALL,
        lambda row: f"{width[row]} x {height[row]} pixels: a side is under {config.min_side}",
    )
    if config.max_aspect is not None:
        verdicts.drop(
            longer / np.maximum(shorter, 1) > config.max_aspect,
            Reason.EXTREME_ASPECT,
            lambda row: f"{width[row]} x {height[row]} is beyond {config.max_aspect:g} : 1",
        )


def drop_out_of_range(verdicts: Verdicts, rows: pa.Table, config: RulesConfig) -> None:
    """Drops rows with a value outside of its column's range, in the order of the names."""
    for column, limits in sorted(config.ranges.items()):
        values = numbers(rows, column)
        if limits.missing == "drop":
            _drop_missing(verdicts, values, column)
        if limits.min is not None:
            _drop_out(verdicts, values < limits.min, values, f"under {shown(limits.min)}", column)
        if limits.max is not None:
            _drop_out(verdicts, values > limits.max, values, f"over {shown(limits.max)}", column)


def _drop_missing(verdicts: Verdicts, values: Numbers, column: str) -> None:
    verdicts.drop(np.isnan(values), Reason.OUT_OF_RANGE, lambda row: f"no {column}")


def _drop_out(verdicts: Verdicts, mask: Mask, values: Numbers, where: str, column: str) -> None:
    verdicts.drop(
        mask, Reason.OUT_OF_RANGE, lambda row: f"{column} {shown(values[row])} is {where}"
    )


def numbers(rows: pa.Table, column: str) -> Numbers:
    """A column of numbers, float32 as it is, NaN where there is none.

    Raises HeadraceError if it holds something else.
    """
    kind = rows.schema.field(column).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise HeadraceError(f"{column}: holds {kind}, and only numbers can be compared")
    return rows[column].to_numpy()


def shown(value: float) -> str:
    """A number as short as its own precision allows: what is under 0.28 is never shown as 0.28."""
    return f"{float(str(value)):.15g}"


def _judges_size(config: RulesConfig) -> bool:
    return config.min_side > 0 or config.max_aspect is not None


def _sides(config: RulesConfig) -> tuple[str, str]:
    prefix = "original_" if config.size == "original" else ""
    return f"{prefix}width", f"{prefix}height"
