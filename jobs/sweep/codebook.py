"""The codebook of the k-means row: fitted once to the images that the sweep trains on."""

import io
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from jobs.console import console
from jobs.sweep.plan import Unit
from pipeline.format import store, writing
from trainer.objective.targets import kmeans
from trainer.objective.targets.patches import patchify, standardise
from trainer.pixels import normalise
from trainer.stream.stream import Stream

PATCHES = 100
"""Patches a centroid; some hundred are plenty (`kmeans.fit`)."""

SEED = 0


def fit_for(unit: Unit, centroids: int) -> None:
    """Publishes the codebook that the training names, if it names one that is not there yet.

    It is a function of mixture, stream and `centroids`: crops are those of the first batches with
    stream seed 0, whatever the seed of the unit. Raises HeadraceError if they cannot be read.
    """
    url = unit.config.objective.target.codebook
    if url is None or store.exists(url):
        return
    console.print(f"sweep: fitting {centroids} centroids to {centroids * PATCHES} patches")
    patches = torch.cat(list(_patches(unit, centroids * PATCHES)))[: centroids * PATCHES]
    file = io.BytesIO()
    np.save(file, kmeans.fit(patches, centroids, SEED).numpy())
    writing.publish(url, file.getvalue())


def _patches(unit: Unit, count: int) -> Iterator[Tensor]:
    """(N, P) float32 of one batch after the other, until there are `count`."""
    config = unit.config
    shared = config.stream.model_copy(update={"seed": SEED})
    with Stream(config.mixture, shared) as stream:
        for batch in stream:
            images = normalise(batch.images, torch.device("cpu"))
            found = standardise(patchify(images, config.shape.patch_size)).flatten(0, 1)
            yield found
            count -= len(found)
            if count <= 0:
                return
