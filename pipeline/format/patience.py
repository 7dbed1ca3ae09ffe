"""Reading that lasts: which answers of a store are believed, and for how long it is asked again."""

import hashlib
import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import TypeVar

from pipeline.format import address, ending, store
from pipeline.format.errors import HeadraceError, Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
Check = Callable[[bytes], bool]

SLOWEST = 1_000_000
"""Bytes a second that a body may come at before it begins to count as stalled."""


@dataclass(frozen=True)
class Patience:
    """How long a store that fails is asked again, in seconds."""

    deadline: float = 300
    """From the first try of a read to giving up."""
    first_pause: float = 0.5
    """Before the second try; each pause is twice the one before."""
    longest_pause: float = 30
    """No pause grows longer."""
    stall: float = 60
    """A body that is slower than 1 MB/s by more than this is given up, and asked for again.
    Local disks and stores without a loop of their own are waited for."""

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0 seconds")


def patiently(call: Callable[[], T], url: str, patience: Patience) -> T:
    """What `call` returns, which reads `url` and is called again as long as it is Unavailable.

    Raises HeadraceError with the last reason after the deadline, and CancelledError when the work
    of this thread ends (see ending.py). Every other error is final.
    """
    begun, tries = time.monotonic(), 0
    while True:
        ending.check()
        tries += 1
        try:
            return call()
        except Unavailable as error:
            reason = str(error).removeprefix(f"{address.redact(url)}: ")
            pause, waited = _pause(url, tries, patience), time.monotonic() - begun
            if waited + pause > patience.deadline:
                raise HeadraceError(
                    f"{address.redact(url)}: given up after {waited:.0f} s and {tries} tries, the "
                    f"last one: {reason}; look at the store, and run the same command again"
                ) from error
            log.warning("%s: try %d: %s", address.redact(url), tries, reason)
            ending.pause(pause)


def _pause(url: str, tries: int, patience: Patience) -> float:
    """Doubled from try to try. Half of it depends on who asks for what: thousands of readers that
    failed together must not come again together."""
    longest = min(patience.first_pause * 2.0 ** min(tries - 1, 60), patience.longest_pause)
    asker = f"{socket.gethostname()} {os.getpid()} {url} {tries}".encode()
    share = int.from_bytes(hashlib.sha256(asker).digest()[:4]) / 2**32
    return longest * (1 + share) / 2


def never(data: bytes) -> bool:
    """Of bytes that nothing is known of, none look wrong."""
    return False


def read_whole(url: str, patience: Patience, looks_wrong: Check = never) -> bytes:
    """All bytes of a file, which nobody writes to meanwhile; else as `read_range`.

    Its size is asked for first: an answer that was cut short is found out.
    """
    size = patiently(partial(store.stat, url, patience.stall), url, patience).nbytes
    return read_range(url, 0, size, patience, looks_wrong)


def read_range(
    url: str,
    start: int,
    stop: int,
    patience: Patience,
    looks_wrong: Check = never,
) -> bytes:
    """The bytes [start, stop) of a shard, all of them.

    Bytes that look wrong are asked for once more and believed if they come again: so what is bad
    is the file, and not one answer. Raises HeadraceError at once if the file is missing, forbidden
    or ends before `stop`, and after the deadline if the store does not answer as it should.
    """
    if start == stop:
        return b""
    return patiently(partial(_read_twice, url, start, stop, patience, looks_wrong), url, patience)


def _read_twice(url: str, start: int, stop: int, patience: Patience, looks_wrong: Check) -> bytes:
    """Reads again what looks wrong."""
    data = _read_once(url, start, stop, patience)
    if not looks_wrong(data):
        return data
    again = _read_once(url, start, stop, patience)
    if again != data and looks_wrong(again):
        raise Unavailable(f"{address.redact(url)}: two reads of bytes {start} to {stop} differ")
    return again


def _read_once(url: str, start: int, stop: int, patience: Patience) -> bytes:
    """A store gives what there is: the rest of a cut shard must not pass for damaged samples."""
    timeout = patience.stall + (stop - start) / SLOWEST
    try:
        data = store.read_bytes(url, start, stop, timeout)
    except Unavailable:
        _check_size(url, stop, patience)  # some stores refuse a range that begins after the end
        raise
    if len(data) == stop - start:
        return data
    _check_size(url, stop, patience)
    raise Unavailable(
        f"{address.redact(url)}: the store gave {len(data)} bytes where {stop - start} were "
        "asked for"
    )


def _check_size(url: str, stop: int, patience: Patience) -> None:
    nbytes = store.stat(url, patience.stall).nbytes
    if nbytes < stop:
        raise HeadraceError(
            f"{address.redact(url)}: ends at byte {nbytes}, the index says {stop} or later; "
            "the shard was cut: restore this file"
        )
