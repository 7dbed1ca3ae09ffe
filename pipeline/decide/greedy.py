"""Resolving pairs: who stays of images that are close to each other.

Rows are taken in keeper order; a row falls if and only if it is close to an earlier row that
stayed. So every duplicate is close to the keeper that it names, nothing chains, and a new image
can never change an old verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.decide.verdict import keeper_order, standing

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Close rows, by their numbers in the pool, each pair once or more often."""

    left: Numbers
    right: Numbers
    kind: npt.NDArray[np.int8]
    """The closest kind of closeness first: an index that only the caller understands."""
    distance: npt.NDArray[np.float64]
    """Within a kind, smaller is closer."""

    @property
    def rows(self) -> Numbers:
        """Every row that is in a pair, ascending."""
        return np.union1d(self.left, self.right)


def together(found: Sequence[Pairs]) -> Pairs:
    """Several searches' pairs as one."""
    left, right = ([getattr(pairs, side) for pairs in found] for side in ("left", "right"))
    kind, distance = [pairs.kind for pairs in found], [pairs.distance for pairs in found]
    none = np.zeros(0, np.int64)
    return Pairs(
        np.concatenate([none, *left]),
        np.concatenate([none, *right]),
        np.concatenate([none.astype(np.int8), *kind]),
        np.concatenate([none.astype(np.float64), *distance]),
    )


FALLEN = pa.schema(
    [("row", pa.int64()), ("keeper", pa.int64()), ("kind", pa.int8()), ("distance", pa.float64())]
)


def resolve(nodes: pa.Table, pairs: Pairs) -> pa.Table:
    """FALLEN rows, in pool order, each with the closest of the earlier rows that stayed.

    `nodes` are the JUDGED rows of `pairs.rows`, in that order. One that was dropped already stands
    for others and never falls again.
    """
    order = keeper_order(nodes)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    number = pairs.rows
    left, right = (rank[np.searchsorted(number, side)] for side in (pairs.left, pairs.right))
    earlier, later = np.minimum(left, right), np.maximum(left, right)
    by = np.lexsort((earlier, pairs.distance, pairs.kind, later))
    winner = _closest_that_stays(earlier[by], later[by], standing(nodes)[order])
    fell = np.flatnonzero(winner >= 0)
    pair = by[winner[fell]]
    columns = {
        "row": number[order[fell]],
        "keeper": number[order[earlier[pair]]],
        "kind": pairs.kind[pair],
        "distance": pairs.distance[pair],
    }
    return pa.table(columns, schema=FALLEN).sort_by("row")


def _closest_that_stays(
    earlier: Numbers, later: Numbers, may_fall: npt.NDArray[np.bool_]
) -> Numbers:
    """For each rank, the first of its pairs whose earlier row stays, or -1."""
    begin = np.searchsorted(later, np.arange(len(may_fall) + 1)).tolist()
    others, free = earlier.tolist(), may_fall.tolist()
    winner = [-1] * len(free)
    for rank, falls in enumerate(free):
        if falls:
            for pair in range(begin[rank], begin[rank + 1]):
                if winner[others[pair]] < 0:
                    winner[rank] = pair
                    break
    return np.array(winner, np.int64)
