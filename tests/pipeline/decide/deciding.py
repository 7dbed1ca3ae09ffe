"""Deciding on ledger rows that a test makes up, without a ledger."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.decide.config import DecideConfig
from pipeline.decide.decide import Decided, decide
from pipeline.decide.engine import Engine, Local
from pipeline.decide.judge import prepare
from pipeline.decide.layout import WriteConfig
from pipeline.decide.pool import Pool
from pipeline.plan import PLAN_SCHEMA
from tests.pipeline.making import rows


@dataclass(frozen=True)
class Tables:
    """Reads facts from tables in memory: what `ledger.read_part` is in earnest."""

    parts: dict[str, pa.Table]

    def __call__(self, part: str, columns: Collection[str]) -> pa.Table:
        table = self.parts[part]
        return table.select([name for name in table.column_names if name in columns])


def pool_of(table: pa.Table, cuts: Sequence[int] = ()) -> Pool:
    """Rows as a pool: in pool order, parted where the generation changes and at `cuts`."""
    order = [("source", "ascending"), ("offset", "ascending"), ("key", "ascending")]
    table = table.sort_by(order).combine_chunks()
    generation = table["generation"].to_numpy()
    changes = np.flatnonzero(np.diff(generation)) + 1
    edges = sorted({0, *changes.tolist(), *cuts, table.num_rows})
    parts = {
        f"{begin:08d}": table.slice(begin, end - begin) for begin, end in itertools.pairwise(edges)
    }
    return Pool(
        parts=tuple(parts),
        generations=tuple(int(part["generation"][0].as_py()) for part in parts.values()),
        rows=tuple(part.num_rows for part in parts.values()),
        load=Tables(parts),
    )


@dataclass(frozen=True)
class Verdicts:
    """What was decided, its parts put together."""

    decided: Decided
    table: pa.Table
    """PLAN_SCHEMA, in pool order."""

    @property
    def counts(self) -> dict[str, int]:
        return self.decided.counts

    @property
    def cuts(self) -> dict[int, float]:
        """Of the first score cut."""
        return self.decided.cuts[0]

    @property
    def reasons(self) -> list[str | None]:
        return self.table["reason"].to_pylist()

    @property
    def kept(self) -> list[int]:
        """Numbers in the pool."""
        return np.flatnonzero(self.table["keep"].to_numpy()).tolist()


def decided(
    table: pa.Table,
    config: DecideConfig,
    write: WriteConfig | None = None,
    references: pa.Table | None = None,
    cuts: Sequence[int] = (),
    engine: Engine | None = None,
) -> Verdicts:
    """Judges ledger rows as `tests.pipeline.making.rows` makes them."""
    against = rows() if references is None and config.decontaminate else references
    pool = pool_of(table, cuts)
    engine = engine or Local()
    found = decide(engine, pool, prepare(config, against), config, write or WriteConfig())
    plans = [engine.get(handle) for handle in found.tables]
    return Verdicts(found, pa.concat_tables([PLAN_SCHEMA.empty_table(), *plans]))
