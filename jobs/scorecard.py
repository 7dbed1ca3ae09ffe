"""The demo's scorecard: what was caught of each fault that was put into the pool on purpose."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.table import Table

from jobs.console import console
from pipeline import ledger, plan
from pipeline.assess.auc import auc
from pipeline.decide.verdict import Reason
from pipeline.format.snapshot import Snapshot, read_parquet
from trainer import metrics

Row = dict[str, Any]
COPIES = ("exact_duplicate", "recompressed", "resized", "reencoded")


@dataclass(frozen=True)
class Card:
    """Counts of a demo run against the truth file."""

    caught: dict[str, tuple[int, int]]
    """Fault → how many of how many were caught."""
    false_drops: dict[str, int]
    """Clean images that fell without cause, by reason. A low score is the price of the cut."""
    clean: int
    """Clean images in the pool."""
    pool_auc: float
    """How well scores part right from wrong captions in the pool."""
    precision: float
    """Share of right captions among kept images that can have one."""
    base_rate: float
    """The same share before the cut."""


def score(snapshot: Snapshot, truth: Path) -> Card:
    """Compares a snapshot's verdicts with what was injected."""
    rows = _joined(snapshot, truth)
    clean = [row for row in rows if row["kind"] == "clean"]
    worded = [row for row in rows if row["kind"] in ("clean", "wrong_caption")]
    scored = [row for row in worded if row["clip_score"] is not None]
    right, wrong = (
        np.array([row["clip_score"] for row in scored if row["caption_ok"] is ok])
        for ok in (True, False)
    )
    kept = [row["caption_ok"] for row in worded if row["keep"]]
    return Card(
        caught=_caught(rows),
        false_drops=_false_drops(rows),
        clean=len(clean),
        pool_auc=auc(right, wrong),
        precision=sum(kept) / len(kept),
        base_rate=sum(row["caption_ok"] for row in worded) / len(worded),
    )


def _joined(snapshot: Snapshot, truth: Path) -> list[Row]:
    """Truth, verdict and score of every pool row, matched by shard and place."""
    verdicts = plan.read(snapshot.url).to_pylist()
    parts = plan.read_sources(snapshot.url)["part"].to_pylist()
    facts = [
        ledger.read_part(snapshot.dataset, snapshot.ledger, part, ["clip_score"]) for part in parts
    ]
    scores = pa.concat_tables(facts)["clip_score"].to_pylist()
    by_place = {
        _place(row): row | {"clip_score": score}
        for row, score in zip(verdicts, scores, strict=True)
    }
    injected = read_parquet(str(truth)).to_pylist()
    return [row | by_place[_truth_place(row)] for row in injected]


def _place(row: Row) -> tuple[str, str, int]:
    shard = row["source"].rpartition("/")[2]
    return (shard, row["key"], 0) if row["key"] else (shard, "", row["offset"])


def _truth_place(row: Row) -> tuple[str, str, int]:
    damaged = row["kind"] == "archive_damaged"
    return (row["shard"], "", row["offset"]) if damaged else (row["shard"], row["key"], 0)


def _caught(rows: list[Row]) -> dict[str, tuple[int, int]]:
    """A copy is caught if not both it and its original were kept; the rest if they were dropped."""
    kept_keys = {row["key"] for row in rows if row["keep"]}
    tally: defaultdict[str, list[bool]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "clean":
            continue
        survives = row["keep"] and (row["kind"] not in COPIES or row["of"] in kept_keys)
        tally[row["kind"]].append(not survives)
    return {kind: (sum(hits), len(hits)) for kind, hits in sorted(tally.items())}


def _false_drops(rows: list[Row]) -> dict[str, int]:
    """Reasons of dropped clean images, but for those that gave way to an injected copy."""
    copied = {row["of"] for row in rows if row["kind"] in COPIES}
    duplicate = (Reason.EXACT_DUPLICATE, Reason.NEAR_DUPLICATE)
    return Counter(
        row["reason"]
        for row in rows
        if row["kind"] == "clean"
        and not row["keep"]
        and not (row["reason"] in duplicate and row["key"] in copied)
    )


def show(card: Card, held_out: Row, log: Path) -> None:
    """Prints the card, the filter's figures and the validation loss of start and end.

    `held_out` is an evaluation's AUC: `value`, and the ends `low` and `high` of its interval.
    """
    table = Table("injected fault", "caught", "of", title="scorecard against the truth file")
    for kind, (hits, total) in card.caught.items():
        table.add_row(kind, str(hits), str(total))
    console.print(table)
    for line in _lines(card, held_out, log):
        console.print(line, soft_wrap=True)


def _lines(card: Card, held_out: Row, log: Path) -> list[str]:
    low = card.false_drops.get(Reason.LOW_SCORE, 0)
    others = sum(card.false_drops.values()) - low
    judged = "{value:.3f} ({low:.3f} to {high:.3f})".format(**held_out)
    losses = [line["validation"]["causal"] for line in metrics.read(log) if "validation" in line]
    return [
        f"clean images     {low} of {card.clean} fell to the cut, {others} to other rules",
        f"filter           AUC {judged} on held-out trusted pairs",
        f"                 AUC {card.pool_auc:.3f} on the pool's right and wrong captions",
        f"kept captions    {card.precision:.1%} right; {card.base_rate:.1%} before the cut",
        f"validation loss  {losses[0]:.4f} at the start, {losses[-1]:.4f} at the end",
    ]
