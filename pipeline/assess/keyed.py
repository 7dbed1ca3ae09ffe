"""Randomness by key: every number follows from a seed and from what it is for."""

import hashlib
import json

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]


def words(purpose: str, seed: int) -> np.random.Philox:
    """A source of 64-bit words (`random_raw`), the same on every machine and in every numpy."""
    digest = hashlib.blake2b(json.dumps([purpose, seed]).encode(), digest_size=16).digest()
    return np.random.Philox(key=int.from_bytes(digest, "little"))


def below(raw: Words, n: int) -> Numbers:
    """Words as numbers in [0, n). The bias is under n / 2^64."""
    return (raw % np.uint64(n)).astype(np.int64)


def permutation(n: int, purpose: str, seed: int) -> Numbers:
    """The numbers of [0, n) in a random order."""
    return np.argsort(words(purpose, seed).random_raw(n), kind="stable")
