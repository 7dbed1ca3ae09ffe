"""Where kept rows go: shards of bounded size, in pool order."""

from collections import Counter

import pyarrow as pa
from pydantic import Field

from pipeline.decide.verdict import Mask
from pipeline.format.tars import BLOCK
from pipeline.settings import Settings


class WriteConfig(Settings):
    """How large a shard may grow."""

    shard_samples: int = Field(default=10_000, gt=0)
    """Samples in one shard at most."""

    shard_bytes: int = Field(default=1_000_000_000, gt=0)
    """Bytes of images in one shard at most; a single larger image has a shard of its own."""


def place(
    kept: Mask, uids: list[str], nbytes: list[int], config: WriteConfig
) -> dict[str, pa.Array]:
    """Shard number, position in it and key for every kept row, null for the others.

    Keys are the uid; the second and later rows of one uid get `<uid>-1`, `<uid>-2`, …, but for
    numbers that would repeat another key.
    """
    shards: list[int | None] = [None] * len(uids)
    positions: list[int | None] = [None] * len(uids)
    keys: list[str | None] = [None] * len(uids)
    repeats: Counter[str] = Counter()
    taken: set[str] = set()
    shard, position, filled = 0, 0, 0
    for row in kept.nonzero()[0].tolist():
        size = nbytes[row] + 2 * BLOCK
        if position == config.shard_samples or (position and filled + size > config.shard_bytes):
            shard, position, filled = shard + 1, 0, 0
        key = uid = uids[row]
        while key in taken:
            repeats[uid] += 1
            key = f"{uid}-{repeats[uid]}"
        taken.add(key)
        shards[row], positions[row], keys[row] = shard, position, key
        position, filled = position + 1, filled + size
    return {
        "shard": pa.array(shards, pa.int32()),
        "position": pa.array(positions, pa.int32()),
        "shard_key": pa.array(keys, pa.string()),
    }
