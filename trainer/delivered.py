"""What a run has been fed since its beginning: the proof, and the realised mixture."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from trainer.stream import digest


@dataclass
class Delivered:
    """Counts of delivered samples, of one rank or of all."""

    drawn: Counter[str] = field(default_factory=Counter)
    """Samples by source."""
    replaced: int = 0
    """Damaged samples that another one stood in for."""
    digest: int = 0
    """Sum of the samples' hashes; see stream/digest.py."""

    def fields(self) -> dict[str, Any]:
        """As the log and the checkpoints hold it."""
        drawn = dict(sorted(self.drawn.items()))
        return {"drawn": drawn, "replaced": self.replaced, "digest": digest.text(self.digest)}


def from_fields(fields: dict[str, Any]) -> Delivered:
    """The inverse of `Delivered.fields`."""
    return Delivered(Counter(fields["drawn"]), fields["replaced"], int(fields["digest"], 16))


def total(parts: Iterable[Delivered]) -> Delivered:
    """The sum, which no order of the parts can change."""
    summed = Delivered()
    for part in parts:
        summed.drawn.update(part.drawn)
        summed.replaced += part.replaced
        summed.digest = digest.total([summed.digest, part.digest])
    return summed
