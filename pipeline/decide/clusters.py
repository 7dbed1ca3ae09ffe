"""Selection by cluster, as DataComp's image_based filter: near whom does an image lie?

An image belongs to the centroid with which its embedding has the largest inner product. The cost
is rows x centroids x dimensions; for 100,000 centroids of 768 numbers, 0.15 GFLOP a row, so only
rows that still stand are looked at.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from pipeline.decide.verdict import Mask, Reason, Verdicts
from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.settings import Settings

Matrix = npt.NDArray[np.float32]
AT_ONCE = 1 << 24
"""Inner products that are held at once: 64 MB."""


class ClustersConfig(Settings):
    """Which clusters of images are wanted."""

    embedding: str = Field(default="clip_embedding", min_length=1)
    """The ledger column of embeddings, from the model that the centroids are of."""

    centroids: str = Field(min_length=1)
    """A `.npy` file of (clusters, dimensions) floats."""

    keep: str | None = Field(default=None, min_length=1)
    """A `.npy` file with the numbers of the clusters to keep; without it all are kept, and only
    a quota per cluster makes use of them."""


@dataclass(frozen=True)
class Clusters:
    """The centroids, and which of them are wanted."""

    centroids: Matrix
    wanted: Mask


def columns(config: ClustersConfig) -> set[str]:
    """Ledger columns that the rule reads."""
    return {config.embedding}


def files(config: ClustersConfig) -> list[str]:
    """Files whose content the verdicts depend on."""
    return [config.centroids, *([config.keep] if config.keep else [])]


def prepare(config: ClustersConfig) -> Clusters:
    """Reads both files. Raises HeadraceError if they are not what they should be."""
    centroids = _load(config.centroids)
    if centroids.ndim != 2 or not len(centroids) or not np.isfinite(centroids).all():
        raise HeadraceError(f"{config.centroids}: not (clusters, dimensions) finite numbers")
    wanted = np.ones(len(centroids), bool)
    if config.keep:
        wanted = _chosen(config.keep, len(centroids))
    return Clusters(centroids.astype(np.float32), wanted)


def _chosen(url: str, count: int) -> Mask:
    keep = _load(url)
    if keep.ndim != 1 or keep.dtype.kind not in "iu" or ((keep < 0) | (keep >= count)).any():
        raise HeadraceError(f"{url}: not a list of cluster numbers from 0 to {count - 1}")
    wanted = np.zeros(count, bool)
    wanted[keep] = True
    return wanted


def _load(url: str) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(io.BytesIO(store.read_bytes(url)), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise HeadraceError(f"{url}: not a .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise HeadraceError(f"{url}: not a .npy file of numbers")
    return array


def drop_outside(
    verdicts: Verdicts, rows: pa.Table, config: ClustersConfig, clusters: Clusters
) -> npt.NDArray[np.int32]:
    """Drops rows that lie in no wanted cluster, or have no embedding to tell.

    Returns the cluster of each row that stood before, -1 for the others: a quota may count them.
    """
    column = rows[config.embedding]
    known = column.is_valid().to_numpy()
    verdicts.drop(~known, Reason.NOT_SELECTED, lambda row: f"no {config.embedding}")
    cluster = np.full(rows.num_rows, -1, np.int32)
    standing = np.flatnonzero(verdicts.kept)
    cluster[standing] = nearest(matrix(column.take(pa.array(standing))), clusters.centroids)
    verdicts.drop(
        ~clusters.wanted[cluster],
        Reason.NOT_SELECTED,
        lambda row: f"nearest to cluster {cluster[row]}, which is not in {config.keep}",
    )
    return cluster


def matrix(column: pa.ChunkedArray) -> Matrix:
    """A column of embeddings, all there and all of one length, as (n, dimensions)."""
    lists = column.combine_chunks()
    if not len(lists):
        return np.zeros((0, 0), np.float32)
    return lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lists), -1).astype(np.float32)


def nearest(embeddings: Matrix, centroids: Matrix) -> npt.NDArray[np.int32]:
    """The centroid with the largest inner product for each embedding; of equal ones the first."""
    if len(embeddings) and embeddings.shape[1] != centroids.shape[1]:
        raise HeadraceError(
            f"embeddings of {embeddings.shape[1]} numbers, centroids of {centroids.shape[1]}: "
            "the centroids are of another model"
        )
    found = np.zeros(len(embeddings), np.int32)
    step = max(1, AT_ONCE // len(centroids))
    for start in range(0, len(embeddings), step):
        products = embeddings[start : start + step] @ centroids.T
        found[start : start + step] = products.argmax(axis=1)
    return found


def kept_clusters(references: Matrix, centroids: Matrix) -> npt.NDArray[np.int32]:
    """The clusters that hold a reference image, ascending: what DataComp keeps for ImageNet-1k."""
    return np.unique(nearest(references, centroids))
