"""Which shards a fetch writes, which are done, and which are to be fetched again.

A list of N slices has the shards 0 to N-1. A shard is done when its `_stats.json` is there, which
is written last. Generation g of slice n is the shard g·N + n: it holds the rows that generation g-1
left failed. So nothing that is published changes, nothing is counted twice, and each shard follows
from its slice and from the sidecar of the generation before it.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline.fetch import urls
from pipeline.fetch.config import FetchConfig
from pipeline.fetch.urls import Slice
from pipeline.format import address, store, writing
from pipeline.format.errors import HeadraceError

FORMAT = 1
_STATS = re.compile(r"(\d{8,})_stats\.json")


@dataclass(frozen=True)
class Work:
    """One shard to write."""

    number: int
    slice: Slice
    previous: int | None = None
    """The shard whose failed rows are fetched again; None for the first attempt at a slice."""


@dataclass(frozen=True)
class Totals:
    """What a pool has come to."""

    rows: int
    ok: int
    failed: dict[str, int]
    """Reason → rows whose last attempt ended with it."""
    undone: int
    """Slices that no shard stands for yet."""


def shard_url(config: FetchConfig, number: int, ending: str) -> str:
    """Where a file of a shard lies: `ending` is `.tar`, `.parquet` or `_stats.json`."""
    return address.join(config.pool_url, f"{number:08d}{ending}")


def slices(config: FetchConfig) -> list[Slice]:
    """The list in slices. Raises HeadraceError if the pool was begun with another one."""
    found = urls.slices(config.list, config.shards.rows)
    record = _record_url(config)
    if store.exists(record):
        _compare(config, json.loads(store.read_bytes(record)), _identity(config, found))
    elif _done(config):
        raise HeadraceError(
            f"{config.pool_url}: holds shards that another program wrote (no fetch.json); fetch "
            "into a folder of its own"
        )
    return found


def begin(config: FetchConfig, found: list[Slice]) -> None:
    """Records what the pool is made from, and removes what killed writers left."""
    identity = _identity(config, found)
    data = json.dumps(identity, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"
    try:
        writing.publish(_record_url(config), data, create_only=True)
    except FileExistsError:
        _compare(config, json.loads(store.read_bytes(_record_url(config))), identity)
    writing.sweep(config.pool_url)


def _record_url(config: FetchConfig) -> str:
    return address.join(config.pool_url, "fetch.json")


def _identity(config: FetchConfig, found: list[Slice]) -> dict[str, Any]:
    """What the content of a shard of a given number depends on, beside the web."""
    files = [store.stat(file) for file in dict.fromkeys(part.file for part in found)]
    return {
        "format": FORMAT,
        "files": [[file.url, file.nbytes, file.etag] for file in files],
        "columns": [config.list.url_column, config.list.caption_column],
        "slices": len(found),
        "rows": config.shards.rows,
        "resize": config.shards.resize,
    }


def _compare(config: FetchConfig, recorded: dict[str, Any], identity: dict[str, Any]) -> None:
    differing = [name for name in identity if recorded.get(name) != identity[name]]
    if differing:
        raise HeadraceError(
            f"{config.pool_url}: was begun with other {', '.join(differing)} (see its fetch.json); "
            "restore them, or fetch into another pool"
        )


def missing(config: FetchConfig, found: list[Slice]) -> list[Work]:
    """The slices that no shard stands for yet."""
    done, count = _done(config), len(found)
    todo = [Work(n, part) for n, part in enumerate(found) if n not in done]
    for work in todo:
        if work.number + count in done:
            raise HeadraceError(
                f"{shard_url(config, work.number, '_stats.json')}: is gone, but shard "
                f"{work.number + count:08d}, which retried its failures, stands; remove both"
            )
    return todo


def retries(config: FetchConfig, found: list[Slice]) -> list[Work]:
    """The next generation of every slice that has failed rows.

    Where a killed run left a generation incomplete, only the rest of that one.
    """
    newest = _newest(config, len(found))
    stats = _stats(config, newest.values())
    failing = {n: s for n, s in newest.items() if stats[s]["successes"] < stats[s]["count"]}
    top = max((number // len(found) for number in newest.values()), default=0)
    behind = {n: s for n, s in failing.items() if s // len(found) < top}
    return [Work(s + len(found), found[n], s) for n, s in sorted((behind or failing).items())]


def totals(config: FetchConfig, found: list[Slice]) -> Totals:
    """Adds up the shards that are done; `rows` are those of the slices that have one."""
    done, newest = _done(config), _newest(config, len(found))
    stats = _stats(config, [s for s in done if s % len(found) in newest])
    rows = sum(stats[n]["count"] for n in newest)
    failed: Counter[str] = Counter()
    for number in newest.values():
        failed.update(stats[number]["status_dict"])
    del failed["success"]
    ok = sum(each["successes"] for each in stats.values())
    return Totals(rows, ok, dict(failed.most_common()), len(found) - len(newest))


def _done(config: FetchConfig) -> set[int]:
    names = map(_STATS.fullmatch, store.names(config.pool_url))
    return {int(match[1]) for match in names if match}


def _newest(config: FetchConfig, count: int) -> dict[int, int]:
    """Slice number → its newest shard, for those that have one."""
    done, newest = _done(config), {}
    for n in range(count):
        number = n
        while number in done:
            newest[n] = number
            number += count
    return newest


def _stats(config: FetchConfig, numbers: Iterable[int]) -> dict[int, dict[str, Any]]:
    def read(number: int) -> tuple[int, dict[str, Any]]:
        url = shard_url(config, number, "_stats.json")
        try:
            return number, json.loads(store.read_bytes(url))
        except ValueError as error:
            raise HeadraceError(f"{url}: damaged; remove it to fetch its shard anew") from error

    with ThreadPoolExecutor(16) as pool:
        return dict(pool.map(read, numbers))
