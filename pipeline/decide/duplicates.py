"""Copies of one image: equal bytes, the same look, the same content.

Equal images are found first (`same.py`). The look is a perceptual hash (`looks.py`), the content an
embedding (`contents.py`). Only close pairs are brought to one process, and resolved greedily
(`greedy.py`). What equalled an image that falls here falls with it, to the same keeper.
"""

from collections.abc import Callable
from functools import partial
from itertools import repeat

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline.decide import contents, looks, same, semantic, views
from pipeline.decide.engine import Engine, Handle
from pipeline.decide.greedy import Numbers, resolve, together
from pipeline.decide.pool import Pool
from pipeline.decide.semantic import SemanticConfig
from pipeline.decide.verdict import Reason, replaced
from pipeline.settings import Settings

KINDS: dict[int, tuple[Reason, Callable[[float], str]]] = {
    **{
        kind: (Reason.NEAR_DUPLICATE, partial(views.bits_that_differ, view))
        for kind, view in enumerate(views.VIEWS)
    },
    contents.KIND: (Reason.SEMANTIC_DUPLICATE, lambda angle: f"cosine {1 - angle:.4f}"),
}
"""What a kind of closeness is called in the plan, the closest first."""


class DuplicatesConfig(Settings):
    """Which images count as one."""

    radius: int | None = Field(default=views.PDQ_RADIUS, ge=0, le=255)
    """Largest number of differing hash bits, of 256, flips and turns included; null compares no
    looks."""

    window_radius: int | None = Field(default=views.WINDOW_RADIUS, ge=0, le=255)
    """The same of the upper or the lower three quarters, which find a picture that got a bar of
    text; null compares whole images alone."""

    semantic: SemanticConfig | None = None
    """Images of the same content, by their embeddings."""


def columns(config: DuplicatesConfig) -> set[str]:
    """Ledger columns that the search for close pairs reads."""
    looks = views.columns(compared(config))
    return looks | ({semantic.column(config.semantic)} if config.semantic else set())


def compared(config: DuplicatesConfig) -> views.Compared:
    """What is looked at, and within how many bits."""
    return views.compared(config.radius, config.window_radius)


def apply(
    engine: Engine, pool: Pool, tables: list[Handle], config: DuplicatesConfig
) -> list[Handle]:
    """Drops all but the first, in keeper order, of each set of equal or close images."""
    tables = same.apply(engine, tables, pool.bounds)
    found = [looks.pairs(engine, pool, tables, compared(config))]
    if config.semantic:
        found.append(contents.pairs(engine, pool, tables, config.semantic))
    pairs = together(found)
    if not len(pairs.left):
        return tables
    shared = engine.share(pairs.rows)
    picked = engine.map(pick, tables, repeat(shared))
    nodes = pa.concat_tables([engine.get(table) for table in picked])
    fallen = engine.share(resolve(nodes, pairs))
    return engine.map(drop_fallen, tables, repeat(fallen))


def pick(rows: pa.Table, numbers: Numbers) -> pa.Table:
    """The JUDGED rows of these numbers in the pool."""
    return rows.filter(pa.array(np.isin(rows["row"].to_numpy(), numbers, assume_unique=True)))


def drop_fallen(rows: pa.Table, fallen: pa.Table) -> pa.Table:
    """One table of JUDGED rows with those dropped that fell, and those that equalled them.

    The latter were dropped as copies of a row that did not stay after all: they get its verdict.
    """
    leader = pc.coalesce(rows["keeper"], rows["row"]).to_numpy()
    numbers = fallen["row"].to_numpy()
    at = np.flatnonzero(np.isin(leader, numbers))
    mine = fallen.take(pa.array(np.searchsorted(numbers, leader[at])))
    kinds, distances = mine["kind"].to_pylist(), mine["distance"].to_pylist()
    changes = {
        "reason": pa.array([KINDS[kind][0] for kind in kinds], pa.string()),
        "detail": pa.array(
            [KINDS[kind][1](distance) for kind, distance in zip(kinds, distances, strict=True)],
            pa.string(),
        ),
        "keeper": mine["keeper"].combine_chunks(),
    }
    return replaced(rows, at, changes) if len(at) else rows
