"""Reading that lasts: which answers of a store are believed, and for how long it is asked again."""

from collections.abc import Callable
from dataclasses import dataclass, fields

from pipeline.format import store
from pipeline.format.errors import HeadraceError, Unavailable


@dataclass(frozen=True)
class Patience:
    """How long a store that fails is asked again, in seconds."""

    deadline: float = 300
    """From the first failure of a read to giving up."""
    first_pause: float = 0.5
    """Before the second try; each pause is twice the one before."""
    longest_pause: float = 30
    """No pause grows longer."""
    stall: float = 60
    """A body that is slower than 1 MB/s by more than this is given up, and asked for again."""

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0 seconds")


def read_range(
    url: str,
    start: int,
    stop: int,
    patience: Patience,
    looks_wrong: Callable[[bytes], bool] = lambda data: False,
) -> bytes:
    """The bytes [start, stop) of a shard, all of them.

    Bytes that look wrong are asked for once more and believed if they come again: so what is bad
    is the file, and not one answer. Raises HeadraceError if the shard ends before `stop`, and
    Unavailable if the store does not answer as it should.
    """
    data = _read_whole(url, start, stop)
    if looks_wrong(data) and _read_whole(url, start, stop) != data:
        raise Unavailable(
            f"{store.redact(url)}: two reads of bytes {start} to {stop} differ; "
            "look at the store, and run again"
        )
    return data


def _read_whole(url: str, start: int, stop: int) -> bytes:
    """A store gives what there is: the rest of a cut shard must not pass for damaged samples."""
    data = store.read_bytes(url, start, stop)
    if len(data) < stop - start:
        raise HeadraceError(
            f"{store.redact(url)}: ends at byte {start + len(data)}, the index says {stop} or "
            "later; the shard was cut: restore this file"
        )
    if len(data) > stop - start:
        raise Unavailable(
            f"{store.redact(url)}: the store gave {len(data)} bytes where {stop - start} were "
            "asked for; look at the store, and run again"
        )
    return data
