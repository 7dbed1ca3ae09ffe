"""Which patches of an image are masked, by key (AIM §5.3)."""

import numpy as np
import numpy.typing as npt

from trainer.stream.keyed import base_key, mix
from trainer.stream.plan import Array

Bools = npt.NDArray[np.bool_]


def chosen(seed: int, step: int, lanes: Array, slots: Array, patches: int, count: int) -> Bools:
    """(B, K), `count` true in each row: those with the smallest of K numbers drawn by the key."""
    words = mix(mix(base_key(seed, "mask"), step, lanes, slots)[:, None], np.arange(patches))
    masked = np.zeros(words.shape, bool)
    np.put_along_axis(masked, words.argsort(axis=1)[:, :count], True, axis=1)
    return masked
