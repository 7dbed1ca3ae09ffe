"""Waiting that can be ended: a thread is told beforehand what ends its work, and heeds it.

What begins threads must be able to end them soon, also while a store is down or says nothing.
"""

from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

_NEVER: Future[None] = Future()
_ended: ContextVar[Future[None]] = ContextVar("ended", default=_NEVER)


def heed(ended: Future[None]) -> None:
    """From now on this thread waits for nothing here once `ended` is done.

    For the initializer of a pool.
    """
    _ended.set(ended)


def check() -> None:
    """Raises CancelledError if this thread's work has ended."""
    if _ended.get().done():
        raise CancelledError


def pause(seconds: float) -> None:
    """Sleeps. Raises CancelledError as soon as this thread's work ends."""
    wait([_ended.get()], seconds)
    check()


def result(request: Future[T]) -> T:
    """What a request brings. It is cancelled, and CancelledError raised, if the work ends first."""
    either: list[Future[Any]] = [request, _ended.get()]
    wait(either, return_when=FIRST_COMPLETED)
    request.cancel()  # does nothing to one that is done
    return request.result()
