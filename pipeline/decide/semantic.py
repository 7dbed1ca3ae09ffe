"""Clusters of embeddings, and the pairs in them that point the same way."""

from collections.abc import Iterator

import faiss
import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.format.errors import HeadraceError
from pipeline.settings import Settings

Matrix = npt.NDArray[np.float32]
AT_ONCE = 1 << 24
"""Inner products that are held at once: 64 MB."""

MAX_PAIRS = 10_000_000
"""Pairs that one cluster may give, 20 bytes each."""

SEED, ROUNDS = 20260311, 20


class SemanticConfig(Settings):
    """Images of the same content, as SemDeDup finds them (arXiv 2303.09540)."""

    model: str = Field(default="clip", min_length=1)
    """Whose embeddings: `clip`, or the name of a model that gives some."""

    cosine: float = Field(default=0.95, gt=0, lt=1)
    """Above which cosine two images of one cluster count as one content."""

    clusters: int | None = Field(default=None, gt=0)
    """How many clusters the pool is parted into; by default one for each 1,000 images. Fewer
    find more pairs across their borders, and cost more."""


def column(config: SemanticConfig) -> str:
    """The ledger column of the embeddings."""
    return f"{config.model}_embedding"


def default_clusters(rows: int) -> int:
    """A cluster for each 1,000 rows."""
    return max(1, rows // 1000)


def train(sample: Matrix, clusters: int) -> Matrix:
    """Centroids (k, d) of unit length by spherical k-means over a sample (n, d).

    The same sample gives the same centroids: one thread, a fixed seed. k is `clusters`, or the
    number of samples if there are fewer.
    """
    clusters = min(clusters, len(sample))
    if not clusters:
        return np.zeros((0, sample.shape[1]), np.float32)
    faiss.omp_set_num_threads(1)
    limits = {"min_points_per_centroid": 1, "max_points_per_centroid": len(sample)}
    means = faiss.Kmeans(
        sample.shape[1], clusters, niter=ROUNDS, seed=SEED, spherical=True, **limits
    )
    means.train(np.ascontiguousarray(sample, np.float32))
    return np.asarray(means.centroids, np.float32)


def pairs_within(
    vectors: Matrix, cosine: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Matrix]:
    """All (i, j, cosine) of unit vectors (n, d) with i < j and a cosine above the limit, in order.

    Raises HeadraceError when there are more than MAX_PAIRS.
    """
    found, count = [], 0
    for block in _blocks(vectors, cosine):
        found.append(block)
        count += len(block[0])
        if count > MAX_PAIRS:
            raise HeadraceError(
                f"duplicates.semantic: more than {MAX_PAIRS:,} pairs over cosine {cosine:g} in one "
                f"cluster of {len(vectors):,} images; raise cosine, or clusters"
            )
    left, right, values = zip(*found, strict=True) if found else ((), (), ())
    none = np.zeros(0, np.int64)
    return (
        np.concatenate([none, *left]),
        np.concatenate([none, *right]),
        np.concatenate([none.astype(np.float32), *values]),
    )


def _blocks(
    vectors: Matrix, cosine: float
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Matrix]]:
    step = max(1, AT_ONCE // max(1, len(vectors)))
    for begin in range(0, len(vectors), step):
        products = vectors[begin : begin + step] @ vectors.T
        i, j = np.nonzero(products > cosine)
        later = j > i + begin
        yield i[later] + begin, j[later], products[i[later], j[later]]
