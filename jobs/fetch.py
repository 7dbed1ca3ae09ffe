"""`headrace fetch`: a list of URLs to a pool, one Ray task for each shard."""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import ray

from jobs import capacity, cluster, metrics
from jobs.console import console, progress
from jobs.record import recording
from pipeline.fetch import plan
from pipeline.fetch.config import FetchConfig
from pipeline.fetch.plan import Totals, Work
from pipeline.fetch.polite import Hosts, PoliteConfig
from pipeline.fetch.shard import write_shard
from pipeline.format.errors import HeadraceError

SHOWN = 10
"""Failed shards that an error names one by one."""

CPUS_PER_PORTER = 16
"""One actor grants turns for so many processors; a host always has the same one."""

WAITING = 10_000
"""Requests that may wait for their turn at one of these actors."""


def run(config: FetchConfig, workers: int | None = None, retry_failed: bool = False) -> Totals:
    """Fetches what is missing, or with `retry_failed`, what failed; run it again to resume.

    Raises HeadraceError at the end if shards could not be written, naming them.
    """
    found = plan.slices(config)
    plan.begin(config, found)
    todo = (plan.retries if retry_failed else plan.missing)(config, found)
    console.print(f"fetch: {len(todo)} shards to do, of {len(found)} slices of the list")
    with recording("fetch", config.pool_url, config) as record:
        if todo:
            with cluster.session(workers), record.stage("fetch"):
                _fetch(config, todo)
        totals = plan.totals(config, found)
        record.note(counts={"ok": totals.ok} | totals.failed)
    return totals


def dry_run(config: FetchConfig, retry_failed: bool = False) -> None:
    """Says which shards a run would write. Reads the list and writes nothing."""
    found = plan.slices(config)
    todo = (plan.retries if retry_failed else plan.missing)(config, found)
    console.print(f"pool   {config.pool_url}")
    console.print(f"list   {sum(part.rows for part in found):,} rows in {len(found)} slices")
    for work in todo:
        last = work.slice.first + work.slice.rows - 1
        what = "" if work.previous is None else f"failed rows of {work.previous:08d}, in "
        where = f"rows {work.slice.first}-{last} of {work.slice.file}"
        console.print(f"shard  {work.number:08d}: {what}{where}")
    console.print(f"{len(todo)} shards to do; nothing was fetched")


class _Porter:
    """Grants the turns of some hosts, for all tasks of a run."""

    def __init__(self, config: PoliteConfig, lease: float) -> None:
        self.hosts = Hosts(config, lease)

    async def enter(self, host: str) -> int:
        return await self.hosts.enter(host)

    async def leave(self, host: str, ticket: int, pause: float) -> None:
        await self.hosts.leave(host, ticket, pause)


class _Turns:
    """What a task sees of the porters."""

    def __init__(self, porters: Sequence[Any]) -> None:
        self.porters = porters

    async def enter(self, host: str) -> int:
        ticket: int = await self._porter(host).enter.remote(host)
        return ticket

    async def leave(self, host: str, ticket: int, pause: float = 0.0) -> None:
        self._porter(host).leave.remote(host, ticket, pause)

    def _porter(self, host: str) -> Any:
        return self.porters[zlib.crc32(host.encode(errors="replace")) % len(self.porters)]


@ray.remote(max_retries=3)
def _shard_task(work: Work, config: FetchConfig, porters: Sequence[Any]) -> int:
    return write_shard(work, config, _Turns(porters))


def _fetch(config: FetchConfig, todo: list[Work]) -> None:
    actor: Any = ray.remote(_Porter)
    porter = actor.options(
        num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=WAITING
    )
    count = 1 + capacity.cpus() // CPUS_PER_PORTER
    porters = [porter.remote(config.polite, config.lease) for _ in range(count)]
    failed: list[str] = []
    try:
        with progress("fetch", len(todo), "shards") as advance:
            for error in _results(todo, config, porters):
                failed += [error] if error else []
                metrics.count("headrace_shards_fetched", 1, "failed" if error else "written")
                advance(1, f"{len(failed)} shards failed" if failed else "")
    finally:
        for each in porters:
            ray.kill(each)
    if failed:
        more = [f"and {len(failed) - SHOWN} more"] if len(failed) > SHOWN else []
        advice = "run the same command again: what is done is kept"
        raise HeadraceError("\n".join([*sorted(failed)[:SHOWN], *more, advice]))


def _results(todo: list[Work], config: FetchConfig, porters: list[Any]) -> Iterator[str]:
    """For each shard, as they end, an empty text, or why it could not be written.

    One that fails does not end the others; each is accounted for.
    """

    def submit(lane: int, work: Work | str) -> Any:
        return ray.put(work) if isinstance(work, str) else _shard_task.remote(work, config, porters)

    def rescue(lane: int, work: Any, error: ray.exceptions.RayError) -> Work | str:
        problem = cluster.failure(error)
        gone = isinstance(error, ray.exceptions.LocalRayletDiedError)
        if gone or not isinstance(problem, HeadraceError):
            raise problem from error
        return f"shard {work.number:08d}: {problem}"

    work: list[Work | str] = [*todo]
    for result in cluster.lanes(work, submit, lambda: 2 * capacity.cpus(), rescue):
        yield result if isinstance(result, str) else ""
