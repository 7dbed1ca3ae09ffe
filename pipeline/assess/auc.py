"""Does an image prefer its own caption to another's? The area under the ROC curve of pairs."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.assess import keyed
from pipeline.assess.captions import numbered
from pipeline.assess.cosines import Embeddings, Numbers, Scores, check, chosen_cosines
from pipeline.assess.intervals import ROUNDS, Floats, Interval, bootstrap

Mask = npt.NDArray[np.bool_]

MISMATCHED = 100
"""Other captions that an image is compared with, where there are more."""


def auc(positive: npt.NDArray[np.floating], negative: npt.NDArray[np.floating]) -> float:
    """Share of (positive, negative) pairs in which the positive is larger; a tie counts half.

    Both (n,) and finite. Raises ValueError if either is empty.
    """
    if not len(positive) or not len(negative):
        raise ValueError("auc: no positives, or no negatives")
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    not_above = np.searchsorted(ordered, positive, side="right")
    return float((below + not_above).mean() / 2 / len(ordered))


def matched_auc(
    images: Embeddings,
    captions: Embeddings,
    texts: Sequence[str],
    seed: int,
    rounds: int = ROUNDS,
) -> Interval:
    """How often a matched pair scores above a mismatched one: 0.5 is chance, 1 is always.

    `images` and `captions` (N, D) of unit length, `texts` (N,), row by row. All matched cosines
    against all mismatched ones, of whatever image, as a filter cuts all images at one score. Each
    image brings those with all other captions, or with MISMATCHED drawn by key if there are more;
    a caption of the same text is no mismatch. One that fits by chance counts against the model.

    The interval resamples images, each with its matched and all its mismatched cosines: these
    rise and fall together, so that cosines drawn singly would seem to be far more evidence than
    there is. Captions stay as they are. One that fits everything raises matched and mismatched
    cosines alike, which a resample sees only in the matched ones: the interval errs on the wide
    side, by 20% where captions differ as much as images do. In simulations it held the truth in
    91 to 96% of samples of 150 or 500 pairs, and in 86 to 95% of those of 20 to 60: least near 1.

    Raises what `cosines.check` raises.
    """
    check(images, captions, texts)
    others, number = mismatches(len(images), seed), numbered(texts)
    differs = number[others] != number[:, None]
    matched = chosen_cosines(images, captions, np.arange(len(images))[:, None])[:, 0]
    steps, step = np.unique(matched, return_inverse=True)
    place = _places(steps, chosen_cosines(images, captions, others), differs)
    compared = differs.sum(axis=1)

    def weighted(weights: Floats) -> Floats:
        wins = np.array([one @ _larger(one, step)[place].sum(axis=1) for one in weights])
        return wins / (weights.sum(axis=1) * (weights @ compared))

    return bootstrap(weighted, len(images), seed, rounds)


def mismatches(n: int, seed: int) -> Numbers:
    """Other rows for each of n: all, or MISMATCHED of them drawn by key without repeats."""
    rows = np.arange(n)[:, None]
    if n - 1 <= MISMATCHED:
        return (rows + np.arange(1, n)) % n
    return (rows + 1 + _draw(n, n - 1, MISMATCHED, seed)) % n


def _draw(rows: int, n: int, k: int, seed: int) -> Numbers:
    """k distinct numbers of [0, n) for each row, every set as likely: Floyd's algorithm."""
    raw = keyed.words("mismatched", seed).random_raw((rows, k))
    drawn = np.empty((rows, k), np.int64)
    for at, last in enumerate(range(n - k, n)):
        new = keyed.below(raw[:, at], last + 1)
        taken = (drawn[:, :at] == new[:, None]).any(axis=1)
        drawn[:, at] = np.where(taken, last, new)
    return drawn


def _places(steps: Scores, mismatched: Scores, differs: Mask) -> Numbers:
    """Where mismatched cosines stand among the distinct matched ones, ascending.

    2k: above k of them and equal to none. 2k + 1: equal to the one that has k below it. What is
    no mismatch stands above all, where nothing wins against it.
    """
    below = np.searchsorted(steps, mismatched, side="left")
    not_above = np.searchsorted(steps, mismatched, side="right")
    return np.where(differs, below + not_above, 2 * len(steps))


def _larger(weights: Floats, step: Numbers) -> Floats:
    """For each place, the weight of matched cosines that are larger, and half of the equal."""
    own = np.bincount(step, weights)
    larger = np.zeros(2 * len(own) + 1)
    larger[:-1:2] = own[::-1].cumsum()[::-1]
    larger[1::2] = (larger[:-1:2] + larger[2::2]) / 2
    return larger
