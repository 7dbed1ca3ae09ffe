"""Where decide's work is done: in this process for a small pool, on a Ray cluster for a large one.

Both give the same tables. The flow in `decide.py` is written against the three things that it
needs: to run a function over many tables, to share a value with those calls, and to bring all rows
of one key together.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import pyarrow as pa

Handle = Any
"""A value, or a reference to one that lies elsewhere. `map` takes both."""

OnGroups = Callable[[pa.Table], pa.Table]
"""Takes all rows of some keys together; gives a table with a column `row`."""


class Engine(Protocol):
    """Runs pure functions over tables."""

    @property
    def workers(self) -> int:
        """How many calls run side by side."""

    def map(self, function: Callable[..., Any], *arguments: Iterable[Handle]) -> list[Handle]:
        """Calls the function with one of each arguments at a time; results in that order."""

    def share(self, value: Any) -> Handle:
        """A handle to a value that many calls need."""

    def get(self, handle: Handle) -> Any:
        """The value behind a handle."""

    def shuffle(self, tables: Sequence[Handle], key: str, function: OnGroups) -> Iterator[pa.Table]:
        """Applies the function to groups of whole keys; its rows in the order of `row`."""


class Local:
    """Everything in this process."""

    workers = 1

    def map(self, function: Callable[..., Any], *arguments: Iterable[Handle]) -> list[Handle]:
        """Calls in order."""
        return list(map(function, *arguments))

    def share(self, value: Any) -> Handle:
        """The value itself."""
        return value

    def get(self, handle: Handle) -> Any:
        """The value itself."""
        return handle

    def shuffle(self, tables: Sequence[Handle], key: str, function: OnGroups) -> Iterator[pa.Table]:
        """One group: all rows."""
        if tables:
            yield function(pa.concat_tables(tables)).sort_by("row")
