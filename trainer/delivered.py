"""What a run has been fed since its beginning: the proof, and the realised mixture.

Every rank counts its batches. Now and then the ranks settle: they add up what they counted, the
first one writes it down (see proof.py and quarantine.py), and all judge the damage.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

from pipeline.format.errors import HeadraceError
from trainer import distributed, proof, quarantine
from trainer.proof import Proof
from trainer.quarantine import Quarantine
from trainer.stream import digest
from trainer.stream.bad import Bad
from trainer.stream.batch import Batch

FEW = 1000
"""A run that has drawn fewer samples may have as much damage as one that has drawn so many."""


@dataclass
class Delivered:
    """Counts of delivered samples."""

    drawn: Counter[str] = field(default_factory=Counter)
    """Samples by source."""
    bad: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Damaged samples that another one stood in for, by source and kind."""
    digest: int = 0
    """Sum of the samples' hashes; see stream/digest.py."""

    def fields(self) -> dict[str, Any]:
        """As the log and the checkpoints hold it."""
        bad: dict[str, dict[str, int]] = {}
        for (source, kind), count in sorted(self.bad.items()):
            bad.setdefault(source, {})[kind] = count
        drawn = dict(sorted(self.drawn.items()))
        return {"drawn": drawn, "bad": bad, "digest": digest.text(self.digest)}


def from_fields(fields: dict[str, Any]) -> Delivered:
    """The inverse of `Delivered.fields`."""
    bad = {(s, kind): n for s, kinds in fields["bad"].items() for kind, n in kinds.items()}
    return Delivered(Counter(fields["drawn"]), Counter(bad), int(fields["digest"], 16))


@dataclass
class Fed:
    """What one rank was fed since the ranks settled last."""

    drawn: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[int, Bad]] = field(default_factory=list)
    """With their steps, in the order of steps, lanes and slots."""
    digests: list[int] = field(default_factory=list)
    """Of every step."""


class Account:
    """A run's account of what it was fed, kept by all ranks together."""

    def __init__(self, folder: Path, names: list[str], max_bad: float, leads: bool) -> None:
        self.folder, self.names, self.max_bad = folder, names, max_bad
        self.leads = leads
        self.step = 0
        """Steps of the stream that were fed."""
        self.total = Delivered()
        """To all ranks, until they settled last."""
        self.fed = Fed()
        self.files: tuple[Proof, Quarantine] | None = None

    def open(self, step: int, total: Delivered) -> None:
        """Begins after `step` steps, and forgets what a killed process wrote of later ones."""
        self.step, self.total = step, total
        if self.leads:
            listed = Quarantine(self.folder / quarantine.NAME, step)
            self.files = Proof(self.folder / proof.NAME, step), listed

    def count(self, batch: Batch) -> None:
        """Adds this rank's next batch."""
        self.fed.drawn.update(self.names[source] for source in batch.sources.tolist())
        self.fed.bad += [(batch.step, bad) for bad in batch.bad]
        self.fed.digests.append(batch.digest)
        self.step += 1

    def settle(self) -> Delivered:
        """What all ranks were fed since the run began. A collective call, which writes the files.

        Raises HeadraceError on all ranks if more than the budget of it is damaged.
        """
        parts = distributed.gather(self.fed)
        self.fed = Fed()
        steps = zip(*(part.digests for part in parts), strict=True)
        digests = [digest.total(list(shares)) for shares in steps]
        # Ranks hold neighbouring lanes: sorted by step, these stand as one rank would have them.
        found = sorted((one for part in parts for one in part.bad), key=itemgetter(0))
        bad = [one for _, one in found]
        for part in parts:
            self.total.drawn.update(part.drawn)
        self.total.bad.update((one.source, one.kind) for one in bad)
        self.total.digest = digest.total([self.total.digest, *digests])
        if self.files:
            self.files[0].write(digests)
            self.files[1].add(bad)
        judge(self.total, self.max_bad, str(self.folder / quarantine.NAME))
        return self.total

    def close(self) -> None:
        """Closes the files."""
        for file in self.files or ():
            file.close()


def judge(delivered: Delivered, max_bad: float, where: str) -> None:
    """Raises HeadraceError if more than `max_bad` of it is damaged; `where` lists the damage."""
    bad, drawn = delivered.bad.total(), delivered.drawn.total()
    if bad <= max_bad * max(drawn, FEW):
        return
    counts = delivered.bad.items()
    source = _commonest((source, n) for (source, _), n in counts)
    kind = _commonest((kind, n) for (its, kind), n in counts if its == source)
    raise HeadraceError(
        f"{bad} of {drawn} samples drawn are damaged, and stream.max_bad is {max_bad:g}; "
        f"most are of source {source!r}, most of those {kind}; "
        f"{where} lists them: mend the shards, or allow more"
    )


def _commonest(counts: Iterable[tuple[str, int]]) -> str:
    """The name with the largest sum; the first by name of several."""
    sums: Counter[str] = Counter()
    for name, count in counts:
        sums[name] += count
    return min(sums, key=lambda name: (-sums[name], name))
