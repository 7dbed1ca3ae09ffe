"""The score cut: keep the top fraction of the pool, exact to the row, wherever its rows lie.

Rows are ranked by a key of 28 bytes that sorts like (score descending, uid, row). The key of the
last row that passes is found by counting: how many keys begin with each two bytes, then how many
continue with the next two, until few enough are left to be sorted. No step holds more of the pool
than one table, and ties are broken by the key itself.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import repeat
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from pipeline.decide.engine import Engine, Handle
from pipeline.decide.verdict import Mask, Reason, drop, standing, words
from pipeline.settings import Settings

Keys = npt.NDArray[np.bytes_]
Scores = npt.NDArray[np.float32]
KEY_BYTES, SCORE_BYTES = 28, 4
SORT_AT_MOST = 100_000
"""Keys that are brought together and sorted."""


class CutConfig(Settings):
    """Which share of the pool passes by a score."""

    score: str = Field(default="clip_score", min_length=1)
    """Which ledger column: `clip_score`, a model's score, or one that the source tells."""

    top_fraction: float = Field(gt=0, le=1)
    """Share of rows to keep. DFN-2B is 0.15 of CommonPool (DFN paper, section 4)."""

    of: Literal["scored", "survivors"] = "scored"
    """Share of what: all rows with a finite score, or those that earlier rules left."""

    ties: Literal["exact", "included"] = "exact"
    """`exact`: ⌊fraction · n⌋ rows, ties broken by uid. `included`: every row whose score is not
    under the one at index int(n · fraction), as DataComp's clip_score filter has it."""


def columns(config: CutConfig) -> set[str]:
    """Ledger columns that the cut reads."""
    return {config.score}


def keys(score: npt.NDArray[np.float32], rows: pa.Table) -> Keys:
    """The sort keys of JUDGED rows, best score first. Scores must be finite."""
    bits = (score.astype(np.float32) + np.float32(0)).view(np.uint32)  # -0.0 is 0.0
    ascending = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    key = np.empty((len(bits), KEY_BYTES), np.uint8)
    key[:, :SCORE_BYTES] = (~ascending).astype(">u4").view(np.uint8).reshape(-1, SCORE_BYTES)
    key[:, SCORE_BYTES:20] = words(rows["uid"]).astype(">u8").view(np.uint8).reshape(-1, 16)
    key[:, 20:] = rows["row"].to_numpy().astype(">u8").view(np.uint8).reshape(-1, 8)
    return key.view(f"S{KEY_BYTES}")[:, 0]


def last_passing(
    count: Callable[[bytes], npt.NDArray[np.int64]],
    sort: Callable[[bytes], Keys],
    total: int,
    rank: int,
) -> bytes:
    """The key at place `rank`, from 1, of `total` keys that are never all in one place.

    `count` tells how many keys follow a prefix with each of the 65,536 next two bytes; `sort`
    gives all keys with a prefix, in order.
    """
    prefix, inside = b"", total
    while inside > SORT_AT_MOST and len(prefix) < KEY_BYTES:
        upto = np.cumsum(count(prefix))
        bucket = int(np.searchsorted(upto, rank))
        before = int(upto[bucket - 1]) if bucket else 0
        rank, inside = rank - before, int(upto[bucket]) - before
        prefix += bucket.to_bytes(2, "big")
    return bytes(sort(prefix)[rank - 1]).ljust(KEY_BYTES, b"\0")


def apply(
    engine: Engine,
    tables: list[Handle],
    scores: list[Handle],
    generations: Sequence[int],
    config: CutConfig,
) -> tuple[list[Handle], dict[int, float]]:
    """Drops JUDGED rows outside the top fraction of their generation, and rows without a score.

    `scores` holds a float32 array for each table. Returns the tables, and each generation's cut:
    the lowest score that passes, where any does.
    """
    bounds = {}
    for generation in sorted(set(generations)):
        own = [at for at, other in enumerate(generations) if other == generation]
        held = [tables[at] for at in own], [scores[at] for at in own]
        bound = _bound(engine, *held, generation, config)
        if bound is not None:
            bounds[generation] = bound
    shared = engine.share(bounds)
    tables = engine.map(drop_below, tables, scores, repeat(shared), repeat(config))
    return tables, {generation: score_of(bound) for generation, bound in bounds.items()}


def _bound(
    engine: Engine, tables: list[Handle], scores: list[Handle], generation: int, config: CutConfig
) -> bytes | None:
    """The last key of a generation that passes, or None if none does."""

    def ask(function: Callable[..., Any], *more: Any) -> list[Any]:
        same = map(repeat, (generation, config.of, *more))
        return [engine.get(found) for found in engine.map(function, tables, scores, *same)]

    def count(prefix: bytes) -> npt.NDArray[np.int64]:
        return np.sum(ask(_count, prefix), axis=0, dtype=np.int64)

    def sort(prefix: bytes) -> Keys:
        return np.sort(np.concatenate(ask(_with_prefix, prefix)))

    scored = sum(ask(_scored))
    rank = _rank(scored, config)
    if not rank:
        return None
    bound = last_passing(count, sort, scored, rank)
    ties = config.ties == "included"
    return bound[:SCORE_BYTES].ljust(KEY_BYTES, b"\xff") if ties else bound


def _rank(scored: int, config: CutConfig) -> int:
    """How many pass, but for ties (exact: 0.15 · 20 is 3)."""
    if config.ties == "included":  # DataComp's index counts from 0, in floating point
        return min(int(scored * config.top_fraction) + 1, scored)
    return math.floor(Fraction(str(config.top_fraction)) * scored)


def _base(rows: pa.Table, score: Scores, generation: int, of: str) -> Mask:
    base: Mask = np.isfinite(score) & (rows["generation"].to_numpy() == generation)
    return base & standing(rows) if of == "survivors" else base


def _scored(rows: pa.Table, score: Scores, generation: int, of: str) -> int:
    return int(_base(rows, score, generation, of).sum())


def _with_prefix(rows: pa.Table, score: Scores, generation: int, of: str, prefix: bytes) -> Keys:
    base = _base(rows, score, generation, of)
    found = keys(score[base], rows.filter(pa.array(base)))
    begins = _bytes(found)[:, : len(prefix)] == np.frombuffer(prefix, np.uint8)
    return found[begins.all(axis=1)]


def _count(
    rows: pa.Table, score: Scores, generation: int, of: str, prefix: bytes
) -> npt.NDArray[np.int64]:
    found = _bytes(_with_prefix(rows, score, generation, of, prefix))
    at = len(prefix)
    return np.bincount(found[:, at] * np.int64(256) + found[:, at + 1], minlength=1 << 16)


def _bytes(found: Keys) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(found).view(np.uint8).reshape(-1, KEY_BYTES)


def score_of(key: bytes) -> float:
    """The score in a key."""
    ascending = np.uint32(~int.from_bytes(key[:SCORE_BYTES], "big") & 0xFFFFFFFF)
    bits = ascending & np.uint32(0x7FFFFFFF) if ascending >> 31 else ~ascending
    return float(np.array(bits, np.uint32).view(np.float32))


def drop_below(
    rows: pa.Table, score: Scores, bounds: dict[int, bytes], config: CutConfig
) -> pa.Table:
    """One table of JUDGED rows with those dropped that have no score, or one beyond the bound."""
    scored = np.isfinite(score)
    rows = drop(rows, ~scored, Reason.NO_SCORE, lambda at: [f"no {config.score}"] * len(at))
    below: Mask = scored.copy()
    generation = rows["generation"].to_numpy()
    ranked = keys(np.where(scored, score, 0), rows)
    for index, bound in bounds.items():
        below &= (generation != index) | (ranked > bound)

    def detail(at: npt.NDArray[np.int64]) -> list[str]:
        cuts = {index: f"ends at {score_of(bound):.4f}" for index, bound in bounds.items()}
        ends = [cuts.get(index, "holds no row") for index in generation[at].tolist()]
        share = f"{config.score} {{:.4f}} is outside the top {config.top_fraction:.4g}, which {{}}"
        return [share.format(*row) for row in zip(score[at].tolist(), ends, strict=True)]

    return drop(rows, below, Reason.LOW_SCORE, detail)
