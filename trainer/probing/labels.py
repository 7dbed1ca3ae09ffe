"""Classes of images by their captions, and which images are kept from training."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience
from trainer.stream import ordered
from trainer.stream.batch import Batch
from trainer.stream.keyed import Integers, base_key, mix, uniforms
from trainer.stream.source import Run, Source

Flags = npt.NDArray[np.bool_]


class Classes:
    """Names of classes, and their numbers: their places in the config."""

    def __init__(self, names: Sequence[str]) -> None:
        self.numbers = {name: number for number, name in enumerate(names)}

    def labels(self, batch: Batch, rows: Sequence[int]) -> list[int]:
        """The class numbers of these rows. Raises HeadraceError for a caption that is no class."""
        return [self._label(batch, row) for row in rows]

    def _label(self, batch: Batch, row: int) -> int:
        number = self.numbers.get(batch.captions[row])
        if number is None:
            raise HeadraceError(
                f"classes: sample {int(batch.samples[row])} ({batch.keys[row]}) is labelled "
                f"{batch.captions[row]!r}, which is none of the {len(self.numbers)} classes; "
                "add it to `classes`, or leave the image out of the set, and train in a new folder"
            )
        return number


def held_out(name: str, samples: Integers, share: float, seed: int) -> Flags:
    """Which samples of a source are kept from training: the same in every epoch and on every rank.

    Drawn by (seed, source name, sample).
    """
    drawn = uniforms(mix(base_key(seed, "held out", name), samples), 1)[:, 0]
    return drawn < share


def trained(batch: Batch, names: Sequence[str], share: float, seed: int) -> Flags:
    """Which images of a batch are trained on: (n,).

    Not what stands in for a damaged one: it may be held out.
    """
    kept = np.ones(len(batch.samples), bool)
    sources, samples = batch.sources.numpy(), batch.samples.numpy()
    for number, name in enumerate(names):
        mine = sources == number
        damaged = [one.sample for one in batch.bad if one.source == name]
        kept[mine] = ~held_out(name, samples[mine], share, seed) & ~np.isin(samples[mine], damaged)
    return kept


class HeldOut(Source):
    """The samples of a source that are kept from training, in its order."""

    def __init__(self, whole: Source, name: str, share: float, seed: int) -> None:
        """`name` is the stream's for it. Raises HeadraceError if no sample is held out."""
        super().__init__(name, whole.shards, whole.patience)
        self.whole = whole
        numbers = np.arange(len(whole))
        self.numbers = numbers[held_out(name, numbers, share, seed)].tolist()
        if not self.numbers:
            raise HeadraceError(
                f"hold_out: {share} of the {len(whole)} samples of {whole.shards.label} is none; "
                "hold out more, or 0"
            )

    @classmethod
    def open(cls, url: str, name: str, share: float, seed: int, patience: Patience) -> "HeldOut":
        """Of a dataset or snapshot. Raises HeadraceError if it is neither."""
        return cls(ordered.held_out(url, patience), name, share, seed)

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, start: int, length: int) -> list[Run]:
        """Theirs from place `start` on, one by one: neighbours are rarely both held out."""
        return [run for n in self.numbers[start : start + length] for run in self.whole.read(n, 1)]
