"""The plan: one verdict, with its reason, for every pool image.

A pure function of the ledger and the config: no store, no clock, no cluster. The same rows in
any order get the same verdicts.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.decide.cut import CutConfig, drop_below_cut
from pipeline.decide.decontaminate import DecontaminateConfig, drop_contaminated
from pipeline.decide.duplicates import DuplicatesConfig, drop_duplicates
from pipeline.decide.layout import WriteConfig, place
from pipeline.decide.rules import RulesConfig, drop_by_caption, drop_by_size, drop_unreadable
from pipeline.decide.verdict import Verdicts, keeper_order
from pipeline.settings import Settings

PLAN_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("key", pa.string()),
        ("offset", pa.int64()),
        ("uid", pa.string()),
        ("generation", pa.int32()),  # index of the first snapshot of the chain with this source
        ("keep", pa.bool_()),
        ("reason", pa.string()),  # null for kept rows, else a verdict.Reason
        ("detail", pa.string()),  # the figure and the threshold, or the row it duplicates
        ("shard", pa.int32()),  # kept rows: index into the manifest's shards
        ("position", pa.int32()),  # and place in that shard
        ("shard_key", pa.string()),  # and key there: the uid, or <uid>-<n> for a repeat
    ]
)


class DecideConfig(Settings):
    """What to drop, and why. Every rule is off until it is configured."""

    rules: RulesConfig = RulesConfig()
    """Size, shape and caption."""

    decontaminate: DecontaminateConfig | None = None
    """Evaluation sets to stay clear of."""

    cut: CutConfig | None = None
    """The top fraction by score, as DFN does. Needs `measure.clip`."""

    duplicates: DuplicatesConfig | None = None
    """Equal and near-equal images."""


@dataclass(frozen=True)
class Plan:
    """The verdicts, in pool order, and the scores at which the cut fell, by generation."""

    table: pa.Table
    cuts: dict[int, float]

    @property
    def sha256(self) -> str:
        """What names the verdicts; the same for the same verdicts."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, PLAN_SCHEMA) as stream:
            stream.write_table(self.table.combine_chunks())
        return hashlib.sha256(sink.getvalue()).hexdigest()

    @property
    def counts(self) -> dict[str, int]:
        """Rows by reason, kept ones as `kept`: they add up to the pool."""
        reasons = Counter(reason or "kept" for reason in self.table["reason"].to_pylist())
        return dict(sorted(reasons.items()))


def decide(rows: pa.Table, references: pa.Table, config: DecideConfig, write: WriteConfig) -> Plan:
    """Judges every row of the pool.

    `rows` has the ledger's narrow columns, `generation` (int32), and `clip_score` where the cut
    wants it; `references` the same columns of the evaluation sets (empty without them).
    Rules come in DESIGN's order: unreadable, decontamination, size and caption, score cut,
    duplicates.
    """
    rows = rows.sort_by([("source", "ascending"), ("offset", "ascending"), ("key", "ascending")])
    verdicts = Verdicts(rows.num_rows)
    generation = rows["generation"].to_numpy().astype(np.int64)
    score = _scores(rows)
    names, nbytes = _names(rows), rows["nbytes"].to_numpy()
    order = keeper_order(generation, score, nbytes, names)
    by_score = keeper_order(generation, score, np.zeros_like(nbytes), names)
    drop_unreadable(verdicts, rows)
    if config.decontaminate:
        drop_contaminated(verdicts, rows, references, config.decontaminate)
    drop_by_size(verdicts, rows, config.rules)
    drop_by_caption(verdicts, rows, config.rules)
    cuts = drop_below_cut(verdicts, score, by_score, generation, config.cut) if config.cut else {}
    if config.duplicates:
        drop_duplicates(verdicts, rows, order, config.duplicates)
    return Plan(_table(rows, verdicts, write), cuts)


def _scores(rows: pa.Table) -> np.ndarray:
    if "clip_score" not in rows.column_names:
        return np.full(rows.num_rows, np.nan)
    return rows["clip_score"].fill_null(float("nan")).to_numpy().astype(np.float64)


def _names(rows: pa.Table) -> list[tuple[str, str, str, int]]:
    columns = (rows[name].to_pylist() for name in ("uid", "source", "key", "offset"))
    return list(zip(*columns, strict=True))


def _table(rows: pa.Table, verdicts: Verdicts, write: WriteConfig) -> pa.Table:
    placed = place(verdicts.kept, rows["uid"].to_pylist(), rows["nbytes"].to_pylist(), write)
    columns = {name: rows[name] for name in ("source", "key", "offset", "uid", "generation")}
    columns |= {"keep": pa.array(verdicts.kept), "reason": pa.array(verdicts.reason, pa.string())}
    columns |= {"detail": pa.array(verdicts.detail, pa.string()), **placed}
    return pa.table(columns, schema=PLAN_SCHEMA)
