"""Decide's engine on Ray: tasks, and Ray Data's hash shuffle where a pool outgrows one task."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import ray

from jobs import capacity, cluster
from pipeline.decide.engine import Handle, OnGroups

GROUP_ROWS = 1_000_000
"""Rows that one task brings together without a shuffle, and rows of one partition of a shuffle.
A shuffle takes 5 s to begin (two cores); a million slim rows are 100 MB and sorted in 2 s."""


class OnRay:
    """Runs decide's functions as tasks of the Ray that `cluster.session` brought up."""

    def __init__(
        self, group_rows: int = GROUP_ROWS, options: Mapping[str, Any] | None = None
    ) -> None:
        """`options`: what each task takes, as keywords of Ray's `.options()`.

        Raises HeadraceError if no machine has that.
        """
        self.group_rows = group_rows
        self.options = dict(options or {})
        capacity.check("decide", self.options)

    @property
    def workers(self) -> int:
        """Tasks that run at once: one a processor, unless the options say otherwise."""
        return capacity.room(self.options)

    def map(self, function: Callable[..., Any], *arguments: Iterable[Handle]) -> list[Handle]:
        """One task a call; results stay where they were made."""
        shared = ray.put(function)
        task = _call.options(**self.options)
        return [task.remote(shared, *call) for call in zip(*arguments, strict=False)]

    def share(self, value: Any) -> Handle:
        """Put once into the object store."""
        return ray.put(value)

    def get(self, handle: Handle) -> Any:
        """Waits for a task and fetches what it returned."""
        return cluster.get(handle)

    def shuffle(self, tables: Sequence[Handle], key: str, function: OnGroups) -> Iterator[pa.Table]:
        """All in one task while it is small, else partitions by the key's hash, then by row."""
        rows = sum(self.get(count) for count in self.map(_length, tables))
        if rows <= self.group_rows:
            if tables:
                yield self.get(_together.options(**self.options).remote(function, *tables))
            return
        import ray.data  # takes most of a second, which every worker would pay

        logging.getLogger("ray.data").setLevel(logging.ERROR)  # or it tells every execution plan
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.target_max_block_size = None  # or a large partition is cut in the midst of a key
        context.execution_options.preserve_order = True
        partitions = -(-rows // self.group_rows)
        grouped = ray.data.from_arrow_refs(list(tables)).repartition(partitions, keys=[key])
        whole: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow"}
        found = grouped.map_batches(function, **whole, **self.options).sort("row")
        yield from found.iter_batches(batch_size=None, batch_format="pyarrow")


@ray.remote
def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


@ray.remote
def _together(function: OnGroups, *tables: pa.Table) -> pa.Table:
    return function(pa.concat_tables(tables)).sort_by("row")


def _length(table: pa.Table) -> int:
    return table.num_rows
