"""Rows of a list to one shard of a pool, as img2dataset writes them.

NNNNNNNN.tar           the images that came: key.jpg key.txt key.json, in the order of the list
NNNNNNNN.parquet       all rows, with status and error_message
NNNNNNNN_stats.json    counts and times; written last: the shard is done when it is there
"""

import asyncio
import contextlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Any

import aiohttp
import pyarrow as pa
import pyarrow.compute as pc
from aiohttp.abc import AbstractResolver

from pipeline.fetch import urls
from pipeline.fetch.config import FetchConfig
from pipeline.fetch.decoder import decoders, prepare_apart
from pipeline.fetch.download import download, session
from pipeline.fetch.failure import Failure, kind_of
from pipeline.fetch.picture import Picture
from pipeline.fetch.plan import Work, shard_url
from pipeline.fetch.polite import Turns
from pipeline.format import writing
from pipeline.format.errors import HeadraceError
from pipeline.format.images import ImageError
from pipeline.format.snapshot import parquet_bytes, read_parquet
from pipeline.pool.sample import clean_meta, uid_of
from pipeline.write.tar import Tar

FACTS = pa.schema(
    [
        ("uid", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),  # success, failed_to_download, failed_to_resize
        ("error_message", pa.string()),  # null, or "<kind>: <words>"
        ("width", pa.int32()),  # of the file in the tar, the right way up
        ("height", pa.int32()),
        ("original_width", pa.int32()),  # of the file as it was downloaded
        ("original_height", pa.int32()),
        ("exif", pa.string()),
        ("sha256", pa.string()),  # of the file as it was downloaded
    ]
)
"""What a shard tells of a row beside the list's own columns, whose like-named ones give way."""

ORIGIN = "retry_of"
"""Column of later generations: the key that the row had at its first attempt."""


@dataclass
class Row:
    """One row of the list, and what became of it."""

    meta: dict[str, Any]
    """Columns of the list, then FACTS; without credentials."""
    url: object
    """As the list has it."""
    extension: str = ""
    spooled: tuple[int, int] = (0, 0)
    """Where the image lies in the spool, [start, stop)."""


@dataclass
class Spool:
    """Images on disk until the tar can be written in the order of the list."""

    file: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    size: int = 0

    def append(self, data: bytes) -> tuple[int, int]:
        """Keeps some bytes; returns where. Raises HeadraceError if the disk will not."""
        try:
            self.file.seek(self.size)
            self.file.write(data)
            self.file.flush()
        except OSError as error:
            words = f"no room for images until they are written: {error.strerror}"
            raise HeadraceError(f"{tempfile.gettempdir()}: {words}") from error
        start, self.size = self.size, self.size + len(data)
        return start, self.size

    def read(self, start: int, stop: int) -> bytes:
        """Gives them back."""
        self.file.seek(start)
        return self.file.read(stop - start)


def write_shard(
    work: Work, config: FetchConfig, turns: Turns, resolver: AbstractResolver | None = None
) -> int:
    """Fetches the rows of one shard and publishes its three files. Returns its number of rows.

    The tar and the sidecar follow from what the servers sent, whatever came first; times are in
    the statistics alone. Raises HeadraceError if the list or the pool fails, never for a URL.
    """
    started = time.time()
    table = _rows(work, config)
    rows = [
        Row(_told(listed, f"{work.number:08d}{n:0{config.digits}d}"), listed["url"])
        for n, listed in enumerate(table.to_pylist())
    ]
    spool = Spool()
    try:
        asyncio.run(_fetch(rows, config, turns, spool, resolver))
    except BaseExceptionGroup as group:  # of a TaskGroup; the first one is why the others ended
        raise group.exceptions[0] from None
    _publish_tar(shard_url(config, work.number, ".tar"), rows, spool)
    sidecar = pa.Table.from_pylist([row.meta for row in rows], _schema(table.schema))
    writing.publish(shard_url(config, work.number, ".parquet"), parquet_bytes(sidecar))
    statistics = json.dumps(_statistics(rows, started), indent=4).encode()
    writing.publish(shard_url(config, work.number, "_stats.json"), statistics)
    return len(rows)


def _rows(work: Work, config: FetchConfig) -> pa.Table:
    """The rows of the list to be fetched; at a retry, those that failed the last time."""
    table = urls.read(work.slice, config.list)
    own = [name for name in table.column_names if name in FACTS.names and name != "uid"]
    table = table.drop_columns([*own, ORIGIN] if ORIGIN in table.column_names else own)
    if work.previous is None:
        return table
    last = read_parquet(shard_url(config, work.previous, ".parquet"))
    failed = last.filter(pc.not_equal(last["status"], "success"))
    origins = failed[ORIGIN if ORIGIN in failed.column_names else "key"]
    places = [int(key[-config.digits :]) for key in origins.to_pylist()]
    return table.take(places).append_column(ORIGIN, origins)


def _told(listed: dict[str, Any], key: str) -> dict[str, Any]:
    """What is known of a row before it is fetched, its URLs without credentials."""
    row: dict[str, Any] = json.loads(clean_meta(listed))
    uid = uid_of(row, str(row["url"] or ""), str(row["caption"] or ""))
    return row | dict.fromkeys(FACTS.names) | {"uid": uid, "key": key}


async def _fetch(
    rows: list[Row],
    config: FetchConfig,
    turns: Turns,
    spool: Spool,
    resolver: AbstractResolver | None,
) -> None:
    """Fetches all rows, `download.at_once` at a time, and decodes them one at a time.

    They are decoded in another process, since a decoder may die of what a stranger sends.
    """
    todo = iter(rows)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(config.download.at_once))  # names are looked up
    children = decoders(config.shards.resize, config.shards.max_pixels, config.download.max_bytes)
    with contextlib.closing(children), ThreadPoolExecutor(1) as one_by_one:

        def prepared(data: bytes) -> Awaitable[Picture]:
            return loop.run_in_executor(one_by_one, prepare_apart, data, children)

        async with session(config.download, config.allow_addresses, resolver) as client:

            async def work() -> None:
                for row in todo:
                    await _fetch_row(row, config, client, turns, spool, prepared)

            async with asyncio.TaskGroup() as group:
                for _ in range(min(config.download.at_once, len(rows))):
                    group.create_task(work())


async def _fetch_row(
    row: Row,
    config: FetchConfig,
    client: aiohttp.ClientSession,
    turns: Turns,
    spool: Spool,
    prepared: Callable[[bytes], Awaitable[Picture]],
) -> None:
    """Downloads one row into the spool; what goes wrong becomes its status."""
    try:
        data = await download(row.url, client, turns, config.download, config.allow_addresses)
        picture = await prepared(data)
    except Failure as failure:
        row.meta |= {"status": "failed_to_download", "error_message": str(failure)}
    except ImageError as error:
        row.meta |= {"status": "failed_to_resize", "error_message": str(error)}
    else:
        row.meta |= _facts(picture)
        row.extension, row.spooled = picture.extension, spool.append(picture.data)


def _facts(picture: Picture) -> dict[str, Any]:
    return {
        "status": "success",
        "width": picture.width,
        "height": picture.height,
        "original_width": picture.original_width,
        "original_height": picture.original_height,
        "exif": picture.exif,
        "sha256": picture.sha256,
    }


def _publish_tar(url: str, rows: list[Row], spool: Spool) -> None:
    with writing.publishing(url) as file:
        tar = Tar(file)
        for row in rows:
            if row.meta["status"] == "success":
                members = {
                    row.extension: spool.read(*row.spooled),
                    "json": clean_meta(row.meta).encode(),
                    "txt": (row.meta["caption"] or "").encode(),
                }
                tar.add(row.meta["key"], members)
        tar.close()


def _schema(listed: pa.Schema) -> pa.Schema:
    return pa.schema([column for column in listed if column.name != "uid"] + list(FACTS))


def _statistics(rows: list[Row], started: float) -> dict[str, Any]:
    """What img2dataset counts; reasons are counted by their kind."""
    ended = time.time()
    states = Counter(row.meta["status"] for row in rows)
    return {
        "count": len(rows),
        "successes": states["success"],
        "failed_to_download": states["failed_to_download"],
        "failed_to_resize": states["failed_to_resize"],
        "duration": ended - started,
        "start_time": started,
        "end_time": ended,
        "status_dict": Counter(kind_of(row.meta["error_message"] or "success") for row in rows),
    }
