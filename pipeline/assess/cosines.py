"""Cosines of embeddings of unit length, such that equal ones are equal numbers.

A float32 inner product depends on where it stands in a matrix: a model that gives everything one
embedding would seem to prefer some pairs by the last bit. Here products are summed in float64 and
rounded to float32, after which a tie is a tie, on every machine.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.format.errors import HeadraceError

Embeddings = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

AT_ONCE = 1 << 23
"""Float64 numbers that are held at once: 64 MB."""

UNIT = 0.01
"""How far from 1 a length may be: float16 embeddings of 1024 numbers are within 0.001."""


def check(images: Embeddings, captions: Embeddings, texts: Sequence[str]) -> None:
    """Checks held-out pairs: images (N, D), captions (N, D) and texts (N,) of the same rows.

    Raises ValueError if the shapes disagree, and HeadraceError for fewer than 2 pairs, for pairs
    whose captions are all the same, and for embeddings that are not finite and of unit length.
    """
    if images.ndim != 2 or images.shape != captions.shape or len(images) != len(texts):
        shapes = f"{images.shape}, {captions.shape}, {len(texts)}"
        raise ValueError(f"images, captions and texts are not of the same pairs: {shapes}")
    if len(images) < 2:
        raise HeadraceError(f"held-out pairs: {len(images)}; at least 2 are needed to compare")
    if len(set(texts)) == 1:
        raise HeadraceError("held-out pairs: all captions are the same text; give pairs of several")
    check_unit(images, "image")
    check_unit(captions, "caption")


def check_unit(embeddings: Embeddings, what: str) -> None:
    """Raises HeadraceError unless all of (n, D) are finite and of unit length."""
    length = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings, dtype=np.float64))
    wrong = np.flatnonzero(~(np.abs(length - 1) <= UNIT))  # a NaN is wrong too
    if len(wrong):
        raise HeadraceError(
            f"{what} embedding {wrong[0]} is of length {length[wrong[0]]:.4g}, not 1, and "
            f"{len(wrong) - 1} more are wrong: drop what has no score, or score it again"
        )


def cosines(some: Embeddings, others: Embeddings) -> Scores:
    """All inner products of (n, D) and (m, D): (n, m). The caller bounds n · m."""
    wide: Scores = (some.astype(np.float64) @ others.astype(np.float64).T).astype(np.float32)
    return wide


def chosen_cosines(images: Embeddings, captions: Embeddings, chosen: Numbers) -> Scores:
    """Inner products of image i with the captions whose numbers are in row i of chosen: (n, k)."""
    found = np.empty(chosen.shape, np.float32)
    step = max(1, AT_ONCE // max(1, chosen.shape[1] * images.shape[1]))
    for start in range(0, len(chosen), step):
        rows = slice(start, start + step)
        theirs = captions[chosen[rows]].astype(np.float64)
        found[rows] = np.einsum("nd,nkd->nk", images[rows].astype(np.float64), theirs)
    return found
