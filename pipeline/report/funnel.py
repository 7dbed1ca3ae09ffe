"""The funnel: how the pool shrinks, rule by rule, to what was kept."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.decide.verdict import Reason
from pipeline.report.reasons import OFF, Words, setting, words


@dataclass(frozen=True)
class Step:
    """One rule: how many images reached it, and how many it dropped."""

    reason: str
    words: Words
    setting: str
    before: int
    dropped: int

    @property
    def left(self) -> int:
        """How many passed on."""
        return self.before - self.dropped

    @property
    def is_on(self) -> bool:
        """Whether the config asks for it; one that dropped something was on in any case."""
        return self.setting != OFF or self.dropped > 0


@dataclass(frozen=True)
class Funnel:
    """All rules in the order in which they are tried. Drops and kept add up to the pool."""

    pool: int
    kept: int
    steps: tuple[Step, ...]

    def share(self, count: int) -> float:
        """A count as a share of the pool."""
        return count / max(self.pool, 1)


def funnel(rows: pa.Table, decide: Mapping[str, Any]) -> Funnel:
    """Counts a plan by reason; `decide` is that section of the snapshot's config."""
    counted = rows["reason"].value_counts().to_pylist()
    counts = Counter({one["values"]: one["counts"] for one in counted})
    order = [reason.value for reason in Reason]
    order += sorted(reason for reason in counts if reason and reason not in order)
    steps, left = [], rows.num_rows
    for reason in order:
        step = Step(reason, words(reason), setting(reason, decide), left, counts[reason])
        steps.append(step)
        left = step.left
    return Funnel(pool=rows.num_rows, kept=left, steps=tuple(steps))
