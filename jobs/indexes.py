"""Anyone's tars scanned for their indexes on Ray, a task a tar."""

from collections.abc import Callable, Sequence
from typing import Any

import ray

from jobs import capacity, cluster
from jobs.console import progress
from pipeline.format.store import Stat

Index = Callable[[Stat], bool]


def on_ray(index: Index, tars: Sequence[Stat], workers: int | None = None) -> list[bool]:
    """What `index` returns for each tar, in their order: `run` of `tarset.tar_set`.

    Raises HeadraceError if a tar is damaged.
    """
    found: dict[int, bool] = {}

    def submit(number: int) -> Any:
        return _index_task.remote(number, index, tars[number])

    with cluster.session(workers), progress("index", len(tars), "tars") as advance:
        for number, done in cluster.run(range(len(tars)), submit, 2 * capacity.cpus()):
            found[number] = done
            advance(1)
    return [found[number] for number in range(len(tars))]


@ray.remote(max_retries=3)
def _index_task(number: int, index: Index, tar: Stat) -> tuple[int, bool]:
    return number, index(tar)
