"""What a shard is written from: its kept rows, gathered from the plan and the ledger."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import ledger, plan
from pipeline.format import address


@dataclass(frozen=True)
class Kept:
    """A decided pool: where its plan and its facts lie."""

    dataset: str
    snapshot: str
    families: dict[str, str]

    @property
    def url(self) -> str:
        """The snapshot that the plan is of."""
        return address.join(self.dataset, "snapshots", self.snapshot)


def kept_rows(
    kept: Kept, shard: int, parts: Sequence[tuple[int, str]], columns: Collection[str]
) -> pa.Table:
    """The rows of one shard, in their order: ledger columns and `shard_key`.

    `parts` are the numbers and names of the parts that it draws from, in pool order.
    """
    return pa.concat_tables([_rows(kept, shard, *part, columns) for part in parts])


def _rows(kept: Kept, shard: int, number: int, part: str, columns: Collection[str]) -> pa.Table:
    verdicts = plan.read_part(kept.url, number, ["shard", "shard_key"])
    mine = pc.fill_null(pc.equal(verdicts["shard"], shard), False)
    facts = ledger.read_part(kept.dataset, kept.families, part, columns)
    return facts.filter(mine).append_column("shard_key", verdicts["shard_key"].filter(mine))
