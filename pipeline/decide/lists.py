"""Deny and allow lists: takedown requests, opt-out lists, permitted domains.

A deny list drops whom it names, as taken down. Where allow lists are configured, whom none of them
names is not selected; a deny list is stronger than any allow list.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipeline.decide import matching
from pipeline.decide.entries import read
from pipeline.decide.matching import Entries
from pipeline.decide.verdict import Mask, Reason, Verdicts
from pipeline.settings import Settings


class ListConfig(Settings):
    """One list, from a file or from the config itself."""

    kind: Literal["uid", "sha256", "url", "domain"]
    """What it lists. `uid`, `sha256`: hex digits. `url`: whole URLs, in which `*` stands for any
    run of characters; the ledger has them without passwords and signatures. `domain`: hosts, and
    with each all hosts under it. Upper and lower case are the same in all of them."""

    file: str | None = Field(default=None, min_length=1)
    """A text file with an entry a line, where `#` opens a comment line, or a parquet file."""

    column: str | None = Field(default=None, min_length=1)
    """The column of the parquet file; by default the one that is called like the kind."""

    values: tuple[str, ...] = ()
    """The entries themselves, instead of a file."""

    @field_validator("values")
    @classmethod
    def _without_secrets(cls, values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """The manifest repeats the config."""
        return tuple(map(matching.as_told, values)) if info.data.get("kind") == "url" else values

    @model_validator(mode="after")
    def _from_one_place(self) -> "ListConfig":
        if (self.file is None) == (not self.values):
            raise ValueError("a list needs either a file or values")
        return self


class ListsConfig(Settings):
    """Which images may not be in the snapshot, and which alone may."""

    deny: tuple[ListConfig, ...] = ()
    """Images that one of these names are dropped as `taken_down`, and their duplicates fall with
    them. A row without a URL is on no list of URLs or domains."""

    allow: tuple[ListConfig, ...] = ()
    """If any is given, images that none of these names are dropped as `not_selected`."""


@dataclass(frozen=True)
class Lists:
    """The lists, read."""

    deny: tuple[Entries, ...]
    allow: tuple[Entries, ...]


def columns(config: ListsConfig) -> set[str]:
    """Ledger columns that the lists are held against."""
    return {matching.COLUMN[one.kind] for one in (*config.deny, *config.allow)}


def files(config: ListsConfig) -> list[str]:
    """Files whose content the verdicts depend on."""
    return [one.file for one in (*config.deny, *config.allow) if one.file]


def prepare(config: ListsConfig) -> Lists:
    """Reads all lists. Raises HeadraceError for a file or an entry that cannot be understood."""
    return Lists(*(tuple(map(_entries, group)) for group in (config.deny, config.allow)))


def _entries(config: ListConfig) -> Entries:
    column = config.column or config.kind
    blocks = read(config.file, column) if config.file else iter([list(config.values)])
    return matching.entries(config.kind, config.file or f"the config's {config.kind} list", blocks)


def drop_denied(verdicts: Verdicts, rows: pa.Table, lists: Lists) -> None:
    """Drops rows that a deny list names, with the list and the entry."""
    for one in lists.deny:
        _drop_named(verdicts, rows, one)


def _drop_named(verdicts: Verdicts, rows: pa.Table, listed: Entries) -> None:
    found = matching.match(rows, listed)
    mask = _mask(rows, list(found))
    verdicts.drop(mask, Reason.TAKEN_DOWN, lambda row: f"{found[row]} is in {listed.name}")


def drop_not_allowed(verdicts: Verdicts, rows: pa.Table, lists: Lists) -> None:
    """Drops rows that no allow list names, if there is one."""
    if not lists.allow:
        return
    allowed = _mask(rows, [row for one in lists.allow for row in matching.match(rows, one)])
    names = ", ".join(one.name for one in lists.allow)
    verdicts.drop(~allowed, Reason.NOT_SELECTED, lambda row: f"not in {names}")


def _mask(rows: pa.Table, found: list[int]) -> Mask:
    mask: npt.NDArray[np.bool_] = np.zeros(rows.num_rows, bool)
    mask[found] = True
    return mask
