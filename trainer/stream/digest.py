"""Proof of what was delivered: a sum of hashes that no number or order of ranks can change."""

import hashlib
from collections.abc import Sequence

MODULUS = 2**128


def sample_hash(step: int, lane: int, slot: int, source: str, epoch: int, key: str) -> int:
    """128 bits of one delivered sample; `key` is the one read from the tar member."""
    text = f"{step}\0{lane}\0{slot}\0{source}\0{epoch}\0{key}"
    data = text.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=16).digest(), "little")


def step_digest(
    step: int,
    lanes: Sequence[int],
    slots: Sequence[int],
    sources: Sequence[str],
    epochs: Sequence[int],
    keys: Sequence[str],
) -> int:
    """The digest of the samples of one step; columns of one length, `sources` by name."""
    rows = zip(lanes, slots, sources, epochs, keys, strict=True)
    return total([sample_hash(step, *row) for row in rows])


def total(hashes: list[int]) -> int:
    """The digest of several samples, or of several digests."""
    return sum(hashes) % MODULUS


def text(digest: int) -> str:
    """A digest as 32 hex digits, for logs and checkpoints; `int(…, 16)` reads it."""
    return f"{digest:032x}"
