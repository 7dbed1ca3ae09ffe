"""`headrace why`: the whole story of any pool image."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import ledger
from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, read_parquet, read_snapshot

STORY = [name for name in ledger.IMAGE_SCHEMA.names if name != "phash"] + ["clip_score"]


@dataclass(frozen=True)
class Story:
    """One pool image: what was measured, and what became of it."""

    facts: dict[str, Any]
    verdict: dict[str, Any]
    shard: str | None
    """The tar that holds it, if it was kept."""


def run(dataset: str, name: str) -> list[Story]:
    """Every row of the snapshot whose uid, key, shard key, or `source#key` is `name`.

    Raises HeadraceError if there is none.
    """
    snapshot = read_snapshot(dataset)
    plan = read_parquet(store.join(snapshot.url, "plan.parquet"))
    wanted = name.rpartition("#")[2].partition("@")[0]
    columns = ("uid", "key", "shard_key")
    mask = pc.fill_null(pc.equal(plan["uid"], wanted), False)
    for column in columns:
        mask = pc.or_(mask, pc.fill_null(pc.equal(plan[column], wanted), False))
    rows = plan.filter(mask).to_pylist()
    if "#" in name:
        rows = [row for row in rows if row["source"].endswith(name.rpartition("#")[0])]
    if not rows:
        raise HeadraceError(
            f"{snapshot.url}: no pool image has the uid or key {name!r}; keys look like "
            f"{', '.join(plan['key'].slice(0, 2).to_pylist())}"
        )
    return [_story(snapshot, row) for row in rows]


def _story(snapshot: Snapshot, verdict: dict[str, Any]) -> Story:
    sources = read_parquet(store.join(snapshot.url, "sources.parquet"))
    parts = sources.filter(pc.equal(sources["source"], verdict["source"]))["part"].to_pylist()
    facts = ledger.read(snapshot.dataset, snapshot.ledger, parts, STORY)
    mine = facts.filter(_same_place(facts, verdict)).to_pylist()[0]
    shard = snapshot.shards[verdict["shard"]].path if verdict["keep"] else None
    return Story(mine, verdict, shard)


def _same_place(facts: pa.Table, verdict: dict[str, Any]) -> Any:
    same_key = pc.equal(facts["key"], verdict["key"])
    return pc.and_(same_key, pc.equal(facts["offset"], verdict["offset"]))


def lines(story: Story) -> list[str]:
    """The story as a person reads it."""
    facts, verdict = story.facts, story.verdict
    outcome = f"kept in {story.shard}, place {verdict['position']}, key {verdict['shard_key']}"
    if not verdict["keep"]:
        outcome = f"dropped: {verdict['reason']}: {verdict['detail']}"
    measured = [f"  {name:18} {_shown(value)}" for name, value in facts.items()]
    return [f"{facts['source']}#{facts['key']}@{facts['offset']}", f"  {outcome}", *measured[3:]]


def _shown(value: Any) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return "-" if value is None else text[:200]
