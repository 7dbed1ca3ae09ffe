"""How filters do on pairs that they never saw, and how well they filter; see caution.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jobs import demo, evaluate
from jobs.judging.config import EvaluateConfig
from pipeline import ledger
from pipeline.assess import keyed
from pipeline.assess.correlation import spearman
from pipeline.assess.filtering import precision_recall
from pipeline.assess.intervals import Interval
from pipeline.assess.noise import CLEAN, SHUFFLED
from pipeline.format.snapshot import read_parquet
from pipeline.measure import clip, image
from pipeline.pool import source

POOL = str(demo.DATA / "pool" / "{00000003..00000005}.tar")
"""The half that no filter was trained on."""

WRONG = 0.3
"""Share of wrong captions given to held-out pairs: that of the pool's own or wrong captions."""

TOP, SEED, ROUNDS = 0.5, 0, 1000

Place = tuple[str, str]
"""Name of a tar, key of a sample."""


class Judged(NamedTuple):
    """The first two are the filter's own accuracy, the rest is how well it filters."""

    auc: Interval
    retrieval: Interval
    noisy: Interval
    pool: Interval
    recalled: Interval


HEADS = {
    "auc": "own: AUC",
    "retrieval": "own: retrieval@1",
    "noisy": f"held-out pairs with {WRONG:.0%} wrong captions: right in the top half",
    "pool": "pool: right in the top half",
    "recalled": "pool: of the right ones, in the top half",
}
"""Of the columns."""

OWN, FILTERING = ("auc", "retrieval"), ("noisy", "pool")


def judge(models: Mapping[str, str], work: Path) -> dict[str, Judged]:
    """All figures of filters, by their names, through `headrace filter evaluate`'s own code."""
    config = EvaluateConfig.model_validate(
        {
            "evaluation": str(work / "evaluation"),
            "filters": {name: {"model": model} for name, model in models.items()},
            "trusted": [{"url": str(demo.HELD_OUT)}],
            "pools": [{"url": POOL}],
            "noise": {"shuffled": WRONG},
            "fractions": [TOP],
            "seed": SEED,
        }
    )
    figures = evaluate.run(config).figures["filters"]
    return {name: Judged(*_own(figures[name]), *_pool(config, name)) for name in models}


def _own(figures: Mapping[str, Any]) -> tuple[Interval, Interval, Interval]:
    retrieval = figures["retrieval"]["image_to_caption"]["1"]
    told = figures["auc"], retrieval, figures["top"][0]["precision"]
    auc, found, precision = (Interval(**one) for one in told)
    return auc, found, precision


def _pool(config: EvaluateConfig, name: str) -> tuple[Interval, Interval]:
    """Precision and recall of the top half of the pool's pairs whose captions are known."""
    scores, kinds = scored(config, name), truth()
    known = [place for place in scores if place in kinds]
    (kept,) = precision_recall(
        np.array([scores[place] for place in known], np.float32),
        np.array([kinds[place] for place in known], np.int8),
        [TOP],
        SEED,
    )
    return kept.precision, kept.recall


def scored(config: EvaluateConfig, name: str) -> dict[Place, float]:
    """The score of each sample of the pool, as the evaluation's ledger has it; NaN for none."""
    limits = image.ImageConfig()
    marks = {
        "image": image.fingerprint(limits),
        "clip": clip.fingerprint(config.filters[name], limits),
    }
    found: dict[Place, float] = {}
    for part in source.parts(config.pools):
        columns = ["source", "key", "clip_score"]
        for row in ledger.read_part(config.url, marks, part.name, columns).to_pylist():
            place = row["source"].rpartition("/")[2], row["key"]
            found[place] = np.nan if row["clip_score"] is None else row["clip_score"]
    return found


def truth() -> dict[Place, int]:
    """CLEAN where the caption is a picture's own, SHUFFLED where it is another's. The pool's other
    faults are no matter of captions and not in it."""
    kinds = {"clean": CLEAN, "wrong_caption": SHUFFLED}
    rows = read_parquet(str(demo.DATA / "truth.parquet")).to_pylist()
    return {(row["shard"], row["key"]): kinds[row["kind"]] for row in rows if row["kind"] in kinds}


def correlated(a: list[float], b: list[float]) -> tuple[float, float]:
    """Spearman's correlation, and how often one as far from 0 comes of a random order.

    The latter by permutation. Both NaN where either is the same throughout.
    """
    found, others = np.array(a), np.array(b)
    rho = spearman(found, others)
    if np.isnan(rho):
        return rho, rho
    orders = (keyed.permutation(len(b), "orders", seed) for seed in range(ROUNDS))
    drawn: npt.NDArray[np.float64] = np.array([spearman(found, others[order]) for order in orders])
    return rho, float((np.abs(drawn) >= abs(rho) - 1e-9).mean())
