"""How well a tool shuffled, from the keys that it delivered."""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import log2
from statistics import mean
from typing import NamedTuple

PER_SHARD = 256
"""Pictures in a tar of the pool. Their keys are numbers, so a key tells its tar; the tools that
convert have shards of about as many, in the same order."""


class Quality(NamedTuple):
    """Of some batches in a row."""

    shards: float
    """How many shards a batch draws from, on average."""
    fewest: int
    """The same, of the worst batch."""
    entropy: float
    """Of the next sample's shard when this one's is known, as a share of log2 of the shards."""
    unordered: float
    """The same when the samples of each batch are put in a random order: a batch is a set."""


def quality(batches: Sequence[Sequence[str]], per_shard: int = PER_SHARD) -> Quality:
    """Of the keys of each batch. An epoch of so few samples cannot reach an entropy of 1, even
    if perfectly shuffled: see `perfect`."""
    found = [[int(key) // per_shard for key in batch] for batch in batches]
    drawn = [len(set(batch)) for batch in found]
    order = random.Random(0)
    unordered = [order.sample(batch, len(batch)) for batch in found]
    return Quality(mean(drawn), min(drawn), _entropy(found), _entropy(unordered))


def perfect(batches: Sequence[Sequence[str]], per_shard: int = PER_SHARD) -> Quality:
    """What the same keys give in an order that is entirely random."""
    keys = [key for batch in batches for key in batch]
    random.Random(0).shuffle(keys)
    left = iter(keys)
    return quality([[next(left) for _ in batch] for batch in batches], per_shard)


def _entropy(batches: Sequence[Sequence[int]]) -> float:
    shards = [one for batch in batches for one in batch]
    pairs = list(pairwise(shards))
    bits = _bits(pairs) - _bits([first for first, _ in pairs])
    return bits / log2(max(2, len(set(shards))))


def _bits(values: Sequence[object]) -> float:
    counts = Counter(values).values()
    return -sum(n / len(values) * log2(n / len(values)) for n in counts)
