"""The figures of an evaluation, from what was read of its ledger, as JSON has values."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from jobs.judging.reading import Pairs, Pool, Scores
from pipeline.assess import auc, filtering, noise, overlap, ranking, retrieval, top
from pipeline.assess.distribution import EDGES, distribution
from pipeline.assess.intervals import Interval
from pipeline.format.errors import HeadraceError

Kept = filtering.Kept


def judge(
    trusted: Pairs,
    off_topic: Pairs,
    pools: Sequence[Pool],
    rates: Mapping[str, float],
    fractions: Sequence[float],
    seed: int,
) -> dict[str, Any]:
    """All figures of all filters; see docs/filter-evaluation.md. NaN is None.

    `rates`: shares of the trusted pairs to spoil, `shuffled` and `off_topic`. Raises
    HeadraceError if the noise cannot be made, or a filter's embeddings are not of unit length.
    """
    injected = _injected(trusted, off_topic, rates, seed)
    clean = float((injected.kind == noise.CLEAN).mean())
    spoilt = {name: _spoilt(name, injected, trusted, off_topic) for name in trusted.images}
    filters = {
        name: _of_pairs(name, trusted, seed) | _of_noise(scores, injected.kind, fractions, seed)
        for name, scores in spoilt.items()
    }
    compared = _all_pools(pools) or spoilt
    return plain(
        {
            "accounts": {
                "trusted": trusted.account,
                "off_topic": off_topic.account,
                "pools": {one.url: one.account for one in pools},
            },
            "noise": {
                "rows": len(injected.kind),
                "rows_of_kind": {
                    kind: int((injected.kind == number).sum())
                    for number, kind in enumerate(noise.KINDS)
                },
                "clean_share": clean,
            },
            "filters": filters,
            "cuts": _cuts(pools, fractions),
            "scores": {"edges": EDGES, "sources": _distributions(trusted, pools)},
            "overlap": {
                "of": "pools" if pools else "noise",
                "rows": len(next(iter(compared.values()))),
                "pairs": _overlaps(compared, fractions),
            },
            "ranking": _ranking(filters) if len(filters) > 1 else None,
        }
    )


def _injected(
    trusted: Pairs, off_topic: Pairs, rates: Mapping[str, float], seed: int
) -> noise.Injected:
    try:
        return noise.inject(trusted.texts, len(off_topic.texts), seed=seed, **rates)
    except HeadraceError as error:  # it begins with the rate's name
        raise HeadraceError(f"noise.{error}") from error


def _spoilt(name: str, injected: noise.Injected, trusted: Pairs, off_topic: Pairs) -> Scores:
    embeddings = (trusted.images[name], trusted.captions[name], off_topic.images[name])
    try:
        return noise.scores_of(injected, *embeddings)
    except HeadraceError as error:
        raise HeadraceError(f"filters.{name}: {error}") from error


def _of_pairs(name: str, trusted: Pairs, seed: int) -> dict[str, Any]:
    held_out = (trusted.images[name], trusted.captions[name], trusted.texts)
    try:
        return {
            "auc": auc.matched_auc(*held_out, seed),
            "retrieval": retrieval.recall(*held_out, seed),
        }
    except HeadraceError as error:
        raise HeadraceError(f"filters.{name}: {error}") from error


def _of_noise(
    scores: Scores, kind: Any, fractions: Sequence[float], seed: int
) -> dict[str, list[Kept] | Kept | None]:
    kept = filtering.precision_recall(scores, kind, fractions, seed)
    clean, rows = int((kind == noise.CLEAN).sum()), len(kind)
    if not 0 < clean < rows:
        return {"top": kept, "top_clean_share": None}
    # One step above, or a share that is rounded down keeps a row less.
    share = math.nextafter(clean / rows, 1)
    (ideal,) = filtering.precision_recall(scores, kind, [share], seed)
    return {"top": kept, "top_clean_share": dataclasses.replace(ideal, fraction=clean / rows)}


def _all_pools(pools: Sequence[Pool]) -> dict[str, Scores]:
    """Filter → scores of all pools' rows."""
    names = pools[0].scores if pools else {}
    return {name: np.concatenate([one.scores[name] for one in pools]) for name in names}


def _cuts(pools: Sequence[Pool], fractions: Sequence[float]) -> list[dict[str, Any]]:
    """What each fraction means as a score: of every pool, and of all together, "all pools"."""
    sources = [(one.url, one.scores) for one in pools]
    return [
        {"source": source, "filter": name, "top": [_cut(scores, one) for one in fractions]}
        for source, by_filter in [*sources, ("all pools", _all_pools(pools))]
        for name, scores in by_filter.items()
    ]


def _cut(scores: Scores, fraction: float) -> dict[str, float]:
    kept = top.top(scores, fraction)
    lowest = top.threshold(scores, kept)
    return {"fraction": fraction, "rows": int(kept.sum()), "threshold": lowest}


def _distributions(trusted: Pairs, pools: Sequence[Pool]) -> list[dict[str, Any]]:
    matched = {
        name: np.einsum("nd,nd->n", images, trusted.captions[name])
        for name, images in trusted.images.items()
    }
    sources = [("trusted", matched), *((one.url, one.scores) for one in pools)]
    return [
        {"source": source, "filter": name, **vars(distribution(scores))}
        for source, by_filter in sources
        for name, scores in by_filter.items()
    ]


def _overlaps(scores: Mapping[str, Scores], fractions: Sequence[float]) -> list[dict[str, Any]]:
    return [
        {"a": a, "b": b, "top": overlap.overlap(scores[a], scores[b], fractions)}
        for a, b in combinations(scores, 2)
        if len(scores[a])
    ]


def _ranking(filters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Filters by their own accuracy and by what they leave of the noise, where there is any."""
    if any(found["top_clean_share"] is None for found in filters.values()):
        return None
    accuracy = {
        name: found["retrieval"][retrieval.IMAGE_TO_CAPTION][1].value
        for name, found in filters.items()
    }
    kept = {name: found["top_clean_share"].precision.value for name, found in filters.items()}
    order = ranking.rank(accuracy, kept)
    figures = {"accuracy": accuracy, "filtering": kept, "sentence": order.sentence}
    return figures | dataclasses.asdict(order)


def plain(value: Any) -> Any:
    """Dataclasses, intervals and arrays as JSON's own types; what is not finite is None."""
    if isinstance(value, Interval):
        return plain(value._asdict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(vars(value))
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
