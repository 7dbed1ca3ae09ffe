"""How many patches of an image are shown at once: S, uniform on 1 to K - 1 (AIM §4.2), by key.

The official generator draws the same prefixes on every rank and worker; a key cannot.
"""

import numpy as np

from trainer.stream.keyed import base_key, below, mix
from trainer.stream.plan import Array


def independent(seed: int, step: int, lanes: Array, slots: Array, patches: int) -> Array:
    """S of each image (B,), drawn by (seed, step, lane, slot).

    Raises ValueError for fewer than two patches.
    """
    if patches < 2:
        raise ValueError(f"prefix lengths need at least 2 patches, not {patches}")
    return 1 + below(mix(base_key(seed, "prefix"), step, lanes, slots), patches - 1)


def paired(seed: int, step: int, lanes: Array, slots: Array, patches: int) -> Array:
    """S of each image (B,): slots 2j and 2j + 1 of a lane get S and K - S, drawn by (…, lane, j).

    K - S is as uniform as S is, and a pair leaves K patches to predict whatever was drawn. Raises
    ValueError for fewer than two patches, and if a slot comes without its neighbour after it.
    """
    apart = np.flatnonzero(slots % 2)  # where the second of each pair must be
    if not np.array_equal(apart, np.arange(1, len(slots), 2)) or len(slots) % 2:
        raise ValueError("paired prefixes need whole pairs of slots 2j and 2j + 1")
    if (lanes[::2] != lanes[1::2]).any() or (slots[::2] + 1 != slots[1::2]).any():
        raise ValueError("paired prefixes need both slots of a pair beside each other")
    first = independent(seed, step, lanes[::2], slots[::2], patches)
    return np.stack([first, patches - first], axis=1).reshape(-1)
