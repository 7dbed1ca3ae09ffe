"""`headrace decide`: one verdict per pool image, from the ledger alone."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from jobs.config import CurateConfig
from jobs.measure import Inputs
from pipeline import ledger
from pipeline.decide.plan import Plan, decide
from pipeline.format import store
from pipeline.format.snapshot import parquet_bytes, snapshot_id
from pipeline.pool.sample import Part


@dataclass(frozen=True)
class Decision:
    """A plan and the snapshot id that it determines."""

    plan: Plan
    id: str


def run(config: CurateConfig, found: Inputs) -> Decision:
    """Decides, and keeps the plan and the list of sources under the snapshot's id."""
    columns = [*ledger.NARROW, "caption_words", "caption_characters", "clip_score"]
    rows = ledger.read(config.dataset_url, found.families, _names(found.parts), columns)
    rows = rows.append_column("generation", pa.array(np.zeros(rows.num_rows, np.int32)))
    plan = decide(rows, _references(config, found), config.decide, config.write)
    decision = Decision(plan, snapshot_id(config.identity, plan.sha256, None))
    folder = store.join(config.dataset_url, "snapshots", decision.id)
    store.publish(store.join(folder, "plan.parquet"), parquet_bytes(plan.table))
    store.publish(store.join(folder, "sources.parquet"), parquet_bytes(_sources(found.parts)))
    return decision


def _references(config: CurateConfig, found: Inputs) -> pa.Table:
    image = {"image": found.families["image"]}
    names = _names(found.references)
    return ledger.read(config.dataset_url, image, names, ledger.NARROW)


def _names(parts: list[Part]) -> list[str]:
    return [part.name for part in parts]


def _sources(parts: list[Part]) -> pa.Table:
    return pa.table(
        {
            "source": [part.source for part in parts],
            "format": [part.format for part in parts],
            "part": _names(parts),
            "nbytes": pa.array([part.nbytes for part in parts], pa.int64()),
            "generation": pa.array([0] * len(parts), pa.int32()),
        }
    )
