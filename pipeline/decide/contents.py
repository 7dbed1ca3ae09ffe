"""Pairs of rows with the same content: embeddings of one cluster whose cosine is above a limit.

SemDeDup (arXiv 2303.09540): k-means parts the pool into clusters, and images are compared within
theirs alone. Clusters are learnt from the oldest images, so that new ones never change them.
"""

from functools import partial
from itertools import repeat

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.decide import semantic
from pipeline.decide.clusters import nearest
from pipeline.decide.engine import Engine, Handle
from pipeline.decide.greedy import Pairs, together
from pipeline.decide.pool import Load, Pool
from pipeline.decide.semantic import SemanticConfig
from pipeline.decide.verdict import standing, stands_in
from pipeline.decide.views import VIEWS

KIND = len(VIEWS)
"""After all likenesses of looks."""

SAMPLE_PER_CLUSTER = 64
"""Rows for each centroid that k-means learns from, evenly spaced over the first generation."""

CLOSE = pa.schema([("row", pa.int64()), ("other", pa.int64()), ("cosine", pa.float64())])


def pairs(engine: Engine, pool: Pool, tables: list[Handle], config: SemanticConfig) -> Pairs:
    """All pairs of rows that stand, or stand in for others, in one cluster and above the limit."""
    embedded = engine.map(embedded_rows, repeat(pool.load), pool.parts, tables, repeat(config))
    sizes = [engine.get(size) for size in engine.map(len, embedded)]
    if not any(sizes):
        return together([])
    oldest = min(g for n, g in zip(sizes, pool.generations, strict=True) if n)
    first = [n if g == oldest else 0 for n, g in zip(sizes, pool.generations, strict=True)]
    clusters = config.clusters or semantic.default_clusters(sum(first))
    step = max(1, sum(first) // (SAMPLE_PER_CLUSTER * clusters))
    samples = engine.map(every, embedded, [step if n else 0 for n in first])
    [centroids] = engine.map(train, [clusters], *([sample] for sample in samples))
    assigned = engine.map(assign, embedded, repeat(centroids))
    limit = partial(close_in_clusters, cosine=config.cosine)
    found = pa.concat_tables([CLOSE.empty_table(), *engine.shuffle(assigned, "cluster", limit)])
    left, right = found["row"].to_numpy(), found["other"].to_numpy()
    return Pairs(left, right, np.full(len(left), KIND, np.int8), 1 - found["cosine"].to_numpy())


def embedded_rows(load: Load, part: str, rows: pa.Table, config: SemanticConfig) -> pa.Table:
    """Number and embedding, as the bytes of its float16, of the rows of a part that have one."""
    name = semantic.column(config)
    facts = load(part, {name})[name]
    chosen = pa.array((standing(rows) | stands_in(rows)) & facts.is_valid().to_numpy())
    vectors = facts.filter(chosen).to_pylist()
    blobs = [np.array(vector, np.float16).tobytes() for vector in vectors]
    return pa.table({"row": rows["row"].filter(chosen), "embedding": pa.array(blobs, pa.binary())})


def every(rows: pa.Table, step: int) -> pa.Table:
    """Every step-th row, none for a step of 0."""
    return rows.take(pa.array(range(0, rows.num_rows, step))) if step else rows.slice(0, 0)


def train(clusters: int, *samples: pa.Table) -> npt.NDArray[np.float32]:
    """Centroids (clusters, d) of all samples."""
    return semantic.train(_vectors(pa.concat_tables(samples)), clusters)


def assign(rows: pa.Table, centroids: npt.NDArray[np.float32]) -> pa.Table:
    """The rows with the number of their nearest centroid."""
    found = nearest(_vectors(rows), centroids) if rows.num_rows else np.zeros(0, np.int32)
    return rows.append_column("cluster", pa.array(found, pa.int32()))


def close_in_clusters(rows: pa.Table, cosine: float) -> pa.Table:
    """CLOSE pairs of the rows of whole clusters."""
    rows = rows.sort_by([("cluster", "ascending"), ("row", "ascending")])
    number, cluster = rows["row"].to_numpy(), rows["cluster"].to_numpy()
    edges = np.flatnonzero(np.diff(cluster, prepend=-1, append=-1))
    found = [CLOSE.empty_table()]
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        vectors = _vectors(rows.slice(begin, end - begin))
        left, right, values = semantic.pairs_within(vectors, cosine)
        columns = [number[begin + left], number[begin + right], values.astype(np.float64)]
        found.append(pa.table(columns, schema=CLOSE))
    return pa.concat_tables(found)


def _vectors(rows: pa.Table) -> npt.NDArray[np.float32]:
    joined = np.frombuffer(b"".join(rows["embedding"].to_pylist()), np.float16)
    return joined.reshape(rows.num_rows, -1).astype(np.float32)
