"""Groups of equal and similar images: the one that stays, and those that fell to it."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decide.verdict import Reason
from pipeline.report.reasons import Words, words

GROUPS_SHOWN, COPIES_SHOWN = 8, 8

DUPLICATES = (Reason.NEAR_DUPLICATE, Reason.SEMANTIC_DUPLICATE, Reason.EXACT_DUPLICATE)


@dataclass(frozen=True)
class Group:
    """A keeper and the first of its copies, by their numbers in the pool; `total` in all."""

    keeper: int
    copies: tuple[int, ...]
    total: int


@dataclass(frozen=True)
class Copies:
    """The largest groups of one kind, and how many there are."""

    reason: str
    words: Words
    groups: tuple[Group, ...]
    total: int


def copies(rows: pa.Table) -> list[Copies]:
    """The largest groups of each kind of duplicate that the pool has. `rows` as in Curation.

    A keeper may itself be dropped: what is like a contaminated image falls with it.
    """
    return [found for reason in DUPLICATES if (found := _of_kind(rows, reason)).groups]


def _of_kind(rows: pa.Table, reason: Reason) -> Copies:
    fallen = np.flatnonzero(pc.fill_null(pc.equal(rows["reason"], reason.value), False).to_numpy())
    keeper = rows["keeper"].take(pa.array(fallen)).to_numpy()
    keepers, sizes = np.unique(keeper, return_counts=True)
    largest = np.argsort(-sizes, kind="stable")[:GROUPS_SHOWN]
    groups = [
        Group(int(keepers[at]), tuple(fallen[keeper == keepers[at]][:COPIES_SHOWN].tolist()), size)
        for at, size in zip(largest, sizes[largest].tolist(), strict=True)
    ]
    return Copies(reason.value, words(reason), tuple(groups), len(keepers))
