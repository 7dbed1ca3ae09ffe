"""Is the right caption among the k that fit an image best, and the right image for a caption?"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.assess.captions import numbered
from pipeline.assess.cosines import AT_ONCE, Embeddings, Numbers, check, cosines
from pipeline.assess.intervals import ROUNDS, Floats, Interval, bootstrap

IMAGE_TO_CAPTION, CAPTION_TO_IMAGE = "image_to_caption", "caption_to_image"


def recall(
    images: Embeddings,
    captions: Embeddings,
    texts: Sequence[str],
    seed: int,
    ks: Sequence[int] = (1, 5, 10),
    rounds: int = ROUNDS,
) -> dict[str, dict[int, Interval]]:
    """Retrieval@k: direction (`image_to_caption`, `caption_to_image`) → k → share of queries.

    `images` and `captions` (N, D) of unit length, `texts` (N,), row by row. Captions of equal
    text are one, embedded as the first of them. An image asks among the distinct texts, and a
    distinct text among all images, of which any of its own is right. What fits as well as the
    right one comes before it: a model that tells nothing apart scores 0, not by luck, but that
    among k texts or fewer anything is found.

    Intervals resample the queries; what is searched stays as it is, so they say nothing of
    larger or smaller pools, in which recall is another. Raises what `cosines.check` raises, and
    ValueError for a k under 1.
    """
    check(images, captions, texts)
    if min(ks, default=1) < 1:
        raise ValueError(f"retrieval at k of {tuple(ks)}: at least 1 is meant")
    first, text = np.unique(numbered(texts), return_inverse=True)
    ranks = {
        IMAGE_TO_CAPTION: ranks_of_captions(images, captions[first], text),
        CAPTION_TO_IMAGE: ranks_of_images(images, captions[first], text),
    }
    return {
        direction: {int(k): _share(found <= k, seed, rounds) for k in ks}
        for direction, found in ranks.items()
    }


def ranks_of_captions(images: Embeddings, captions: Embeddings, text: Numbers) -> Numbers:
    """For each image (N, D) the place from 1 of its caption, `text` (N,), among (T, D)."""
    ranks = np.empty(len(images), np.int64)
    step = max(1, AT_ONCE // len(captions))
    for start in range(0, len(images), step):
        rows = slice(start, start + step)
        found = cosines(images[rows], captions)
        own = np.take_along_axis(found, text[rows, None], axis=1)
        ranks[rows] = (found >= own).sum(axis=1)  # its own is one of these
    return ranks


def ranks_of_images(images: Embeddings, captions: Embeddings, text: Numbers) -> Numbers:
    """For each caption (T, D) the place from 1 of the best image (N, D) whose `text` it is."""
    ranks = np.empty(len(captions), np.int64)
    step = max(1, AT_ONCE // len(images))
    for start in range(0, len(captions), step):
        rows = slice(start, start + step)
        found = cosines(captions[rows], images)
        right = text == np.arange(len(captions))[rows, None]
        best = np.where(right, found, -np.inf).max(axis=1, keepdims=True)
        ranks[rows] = 1 + ((found >= best) & ~right).sum(axis=1)
    return ranks


def _share(hit: npt.NDArray[np.bool_], seed: int, rounds: int) -> Interval:
    def share(weights: Floats) -> Floats:
        return weights @ hit / weights.sum(axis=1)

    return bootstrap(share, len(hit), seed, rounds)
