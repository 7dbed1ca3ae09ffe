"""Patches by number: the nearest of a codebook's."""

import hashlib
import io

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor
from torch.nn import functional as F

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from trainer.model.layers import at_least_float32
from trainer.objective.targets.patches import standardise, statistics, take
from trainer.stream.keyed import base_key, mix

AT_ONCE = 4096
"""Patches that are compared with the codebook at once: distances to 8192 centroids take 128 MiB."""

ROUNDS = 20
"""Of Lloyd's algorithm; Faiss takes as many by default."""


class KMeans:
    """The number of the centroid that is nearest to the normalised patch; cross-entropy."""

    def __init__(self, codebook: Tensor, patch_size: int, digest: str = ""):
        """`codebook`: (V, 3 · patch_size²) float32."""
        self.codebook, self.patch_size, self.digest = codebook, patch_size, digest

    @property
    def outputs(self) -> int:
        """V."""
        return len(self.codebook)

    def wanted_values(self, images: Tensor, wanted: Tensor) -> Tensor:
        """(M,) int64."""
        patches = standardise(take(images, self.patch_size, wanted))
        return nearest(patches, self._codebook_for(patches))[0]

    def losses(self, predictions: Tensor, values: Tensor) -> Tensor:
        """(M, V) and (M,) → (M,)."""
        return F.cross_entropy(at_least_float32(predictions), values, reduction="none")

    def paint(self, predictions: Tensor, images: Tensor, wanted: Tensor) -> Tensor:
        """(M, P) in the units of the images: the likeliest centroid, with the true statistics."""
        patches = take(images, self.patch_size, wanted)
        mean, deviation = statistics(patches)
        return self._codebook_for(patches)[predictions.argmax(dim=-1)] * deviation + mean

    def _codebook_for(self, patches: Tensor) -> Tensor:
        self.codebook = self.codebook.to(patches)  # there and in that precision from now on
        return self.codebook


def nearest(patches: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """Of (N, P) patches the closest of (V, P) centroids, (N,) int64, and the squared distances."""
    numbers, distances = [], []
    # Half precision would choose other centroids.
    with torch.no_grad(), torch.autocast(patches.device.type, enabled=False):
        norms = codebook.square().sum(dim=1)
        for part in patches.split(AT_ONCE):
            closest = (norms - 2 * part @ codebook.T).min(dim=1)
            numbers.append(closest.indices)
            distances.append(closest.values + part.square().sum(dim=1))
    return torch.cat(numbers), torch.cat(distances)


def fit(patches: Tensor, vocabulary: int, seed: int) -> Tensor:
    """A codebook (V, P) float32 for normalised patches (N, P), by Lloyd's algorithm.

    It starts from patches drawn by the seed; a centroid that no patch is closest to moves to the
    patch that is furthest from any. Some hundred patches a centroid are plenty. On the CPU, where
    they must lie, the same patches give the same bits. Raises ValueError for fewer patches than
    centroids.

        patches = standardise(patchify(normalise(images, CPU), patch_size)).flatten(0, 1)
        np.save("codebook.npy", fit(patches, 8192, seed=0).numpy())
    """
    if len(patches) < vocabulary:
        raise ValueError(f"{len(patches)} patches do not make {vocabulary} centroids")
    drawn = mix(base_key(seed, "codebook"), np.arange(len(patches))).argsort()[:vocabulary]
    codebook = patches[torch.from_numpy(drawn)]
    for _ in range(ROUNDS):
        numbers, distances = nearest(patches, codebook)
        counts = torch.bincount(numbers, minlength=vocabulary)
        sums = torch.zeros(codebook.shape, dtype=torch.float64).index_add_(
            0, numbers, patches.double()
        )
        codebook = (sums / counts.clamp(min=1)[:, None]).to(patches)
        for empty in (counts == 0).nonzero().flatten():
            codebook[empty] = patches[distances.argmax()]
            moved = nearest(patches, codebook[empty][None])[1]
            distances = torch.minimum(distances, moved)
    return codebook.float()


def read_codebook(url: str, patch_size: int) -> KMeans:
    """The target of a codebook's file. Raises HeadraceError if it is none for these patches."""
    data, P = store.read_bytes(url), 3 * patch_size**2
    try:
        codebook = npy.read_array(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        raise HeadraceError(
            f"objective.target.codebook: {url}: not a .npy file ({error}); write one with "
            "numpy.save"
        ) from error
    if codebook.ndim != 2 or codebook.shape[1] != P or len(codebook) < 2 or codebook.dtype != "f4":
        raise HeadraceError(
            f"objective.target.codebook: {url}: must be (V, {P}) float32 for patches of "
            f"{patch_size} pixels, V at least 2, not {codebook.shape} {codebook.dtype}; fit it anew"
        )
    if not np.isfinite(codebook).all():
        raise HeadraceError(f"objective.target.codebook: {url}: is not finite; fit it anew")
    return KMeans(torch.from_numpy(codebook), patch_size, hashlib.sha256(data).hexdigest())
