"""What a trainer waited for: bytes, pixels, or the way to the device."""

from typing import NamedTuple

from trainer.stream.batch import Batch


class Waits(NamedTuple):
    """Seconds of waiting, by what was not ready."""

    fetch: float = 0.0
    """The batch's bytes were still being read."""
    decode: float = 0.0
    """Its images were still being decoded."""
    transfer: float = 0.0
    """It was made, and still on its way to whoever asked."""

    def plus(self, other: "Waits") -> "Waits":
        """The sum, part by part."""
        return Waits(*(one + more for one, more in zip(self, other, strict=True)))


def waits(batch: Batch, asked: float, got: float) -> Waits:
    """The parts of a wait for a batch, from `asked` to `got` by `time.monotonic`.

    Exact: every batch carries when its bytes and its pixels were there.
    """
    fetched = min(max(asked, batch.fetched), got)
    decoded = min(max(fetched, batch.decoded), got)
    return Waits(fetched - asked, decoded - fetched, got - decoded)
