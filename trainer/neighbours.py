"""Classes by a vote of the nearest neighbours: how good features are without any training.

The vote is DINO's (Caron et al., arXiv 2104.14294, appendix): each of the k nearest training
images by cosine votes for its class with exp(cosine / T), T = 0.07.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

TEMPERATURE = 0.07
"""Of the vote (arXiv 2104.14294, appendix)."""

AT_ONCE = 1 << 24
"""Cosines that are held at once: 64 MB, and four times that while they are ranked."""

NOWHERE = torch.iinfo(torch.int64).max
"""The place of a class that nobody voted for."""

LOW = (1 << 32) - 1
"""The half of an int64 that has a neighbour's number in it: a set may have as many samples."""


class Neighbours(NamedTuple):
    """The nearest of each query, the nearest first; of equals the one of the lower number."""

    cosines: Tensor
    """(Q, k) float32."""
    numbers: Tensor
    """(Q, k) int64: places in the set."""


class Right(NamedTuple):
    """How many queries were told right."""

    top1: int
    top5: int


def pooled(tokens: Tensor) -> Tensor:
    """Features (B, K, D) float32 of an image's patches as one of length 1, (B, D): their mean."""
    return F.normalize(tokens.mean(dim=1), dim=1)


def nearest(queries: Tensor, chunks: Iterable[Tensor], k: int) -> Neighbours:
    """The k of a set with the largest product with each query; exact. All on the queries' device.

    queries: (Q, D) float32. chunks: the set, (n, D) each, in order; read once, and one at a time.
    Fewer than k come back if the set is smaller. Memory: the queries, one chunk, Q · 2k numbers.
    """
    best = torch.empty((len(queries), 0), dtype=torch.int64, device=queries.device)
    first = 0
    for chunk in chunks:
        chunk = chunk.to(queries.device)
        parts = zip(_parts(queries, len(chunk)), _parts(best, len(chunk)), strict=True)
        found = [_better(held, part @ chunk.T, first, k) for part, held in parts]
        best, first = torch.cat(found), first + len(chunk)
    return Neighbours(*_unranked(best.sort(dim=1, descending=True).values))


def votes(
    neighbours: Neighbours, labels: Tensor, wanted: Tensor, k: int, classes: int, temperature: float
) -> Right:
    """Counts the queries whose class has the most votes, or is among the five with the most.

    labels: (N,) int64 class of each sample of the set. wanted: (Q,) that of each query. Of equal
    scores the lower class comes first; a class that no neighbour has is not among the five.
    """
    labels, right = labels.cpu(), [0, 0]
    whole = (neighbours.cosines.cpu()[:, :k], neighbours.numbers.cpu()[:, :k], wanted.cpu())
    for cosines, numbers, own in zip(*(_parts(one, classes) for one in whole), strict=True):
        scores = torch.zeros(len(own), classes, dtype=torch.float64)
        scores.scatter_add_(1, labels[numbers], (cosines.double() / temperature).exp())
        place = _place(scores, own)
        right = [right[0] + int((place < 1).sum()), right[1] + int((place < 5).sum())]
    return Right(*right)


def _parts(rows: Tensor, width: int) -> Sequence[Tensor]:
    """In as many rows as meet `width` others at once."""
    return rows.split(max(1, AT_ONCE // width))


def _better(held: Tensor, cosines: Tensor, first: int, k: int) -> Tensor:
    """The k best of those held and of new ones, (q, ≤ k), in no order."""
    both = torch.cat([held, _ranked(cosines, first)], dim=1)
    return both.topk(min(k, both.shape[1]), dim=1, sorted=False).values


def _ranked(cosines: Tensor, first: int) -> Tensor:
    """(q, n) float32 as int64 that order as they do, and of equals the lower number higher.

    No two of a row are equal, so that which ones `topk` takes is never its own choice. Floats
    order as their bits do; those below zero the other way round.
    """
    bits = (cosines + 0.0).view(torch.int32)  # minus zero has other bits
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    numbers = torch.arange(first, first + cosines.shape[1], device=cosines.device)
    return (ordered << 32) | (LOW - numbers)


def _unranked(ranked: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and numbers out of what `_ranked` made."""
    ordered = (ranked >> 32).int()
    bits = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered)
    return bits.view(torch.float32), LOW - (ranked & LOW)


def _place(scores: Tensor, own: Tensor) -> Tensor:
    """How many classes come before each query's own, (q,); NOWHERE if it has no vote."""
    mine = scores.gather(1, own[:, None])
    lower = torch.arange(scores.shape[1]) < own[:, None]
    before = (scores > mine) | ((scores == mine) & lower)
    return torch.where(mine[:, 0] > 0, before.sum(dim=1), NOWHERE)
