"""Files by URL, as their stores have them: looked up, found by patterns, and read."""

import asyncio
import contextlib
import re
import stat as modes
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import IO, Any, TypeVar

import fsspec
from fsspec.asyn import get_loop

from pipeline.format import address, ending, faults
from pipeline.format.errors import HeadraceError

T = TypeVar("T")

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")

VERSIONS = ("ETag", "etag", "mtime", "LastModified", "Last-Modified", "blob_id")
"""What stores call the version of a file, the best first."""


@dataclass(frozen=True)
class Stat:
    """What a store says of a file without reading it: enough to notice that it changed."""

    url: str
    nbytes: int
    etag: str


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it."""
    try:
        # Other processes write here: a listing kept from before would hide what they published.
        fs, path = fsspec.core.url_to_fs(address.absolute(url), use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise HeadraceError(f"{address.redact(url)}: no such kind of store: {error}") from error
    if getattr(fs, "async_impl", False):
        get_loop().set_exception_handler(_pass_over)  # the one that all such stores work in
    return fs, path


def _pass_over(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Keeps from the console what a store's client raised in a task that nobody waited for.

    A store that hangs up ends several at once; one of them reaches `reading` or `writing`.
    """
    error = context.get("exception")
    theirs = isinstance(error, Exception) and (
        isinstance(error, ConnectionError) or faults.is_of_a_store(error)
    )
    if not (theirs and context["message"].endswith("exception was never retrieved")):
        loop.default_exception_handler(context)


def expand(pattern: str) -> list[str]:
    """All files that a URL with `{00000..00999}` ranges and `*` globs names, in name order.

    Ranges keep their zero padding, and each name they give must exist: a hole in a range is a
    shard lost on the way, not a smaller pool.
    """
    urls = [
        url for braced in _expand_braces(pattern) for url in _expand_glob(address.absolute(braced))
    ]
    if not urls:
        raise HeadraceError(
            f"{address.redact(pattern)}: no file matches; check the path and the pattern"
        )
    return urls


def _expand_braces(pattern: str) -> list[str]:
    match = _BRACES.search(pattern)
    if match is None:
        return [pattern]
    low, high = match.groups()
    if int(high) < int(low):
        raise HeadraceError(f"{address.redact(pattern)}: the range {match[0]} runs backwards")
    names = (f"{number:0{len(low)}d}" for number in range(int(low), int(high) + 1))
    return [
        url
        for name in names
        for url in _expand_braces(pattern[: match.start()] + name + pattern[match.end() :])
    ]


def _expand_glob(url: str) -> list[str]:
    if not any(sign in url for sign in "*?["):
        return [url]
    fs, path = filesystem(url)
    with reading(url):
        return sorted(address.absolute(fs.unstrip_protocol(found)) for found in fs.glob(path))


@contextlib.contextmanager
def reading(url: str) -> Iterator[None]:
    """Turns what a store raises while `url` is read into one line that names it.

    Raises HeadraceError for a file that is missing or forbidden, and for all else Unavailable.
    """
    try:
        yield
    except HeadraceError:
        raise
    except Exception as error:
        failure = faults.failure(url, error)
        if failure is None:
            raise
        raise failure from error


@contextlib.contextmanager
def changing(url: str, done: str) -> Iterator[None]:
    """The same while `url` is changed; what was not `done` is told so.

    Raises FileExistsError where the file is not (any more) as the change supposes.
    """
    try:
        yield
    except (HeadraceError, FileExistsError):
        raise
    except Exception as error:
        if faults.status(error) == faults.OVERTAKEN:
            raise FileExistsError(address.redact(url)) from error
        failure = faults.refusal(url, error, done)
        if failure is None:
            raise
        raise failure from error


def stat(url: str, timeout: float | None = None) -> Stat:
    """Size and version of a file. Local files use their time of change as the version.

    `timeout` is as in `read_bytes`.
    """
    fs, path = filesystem(url)
    with reading(url):
        return stat_of(url, call(fs, "info", path, timeout=timeout))


def stat_of(url: str, info: dict[str, Any]) -> Stat:
    """The same, from what a listing already told."""
    if info.get("size") is None:
        raise HeadraceError(
            f"{address.redact(url)}: the store does not tell its size; copy it elsewhere"
        )
    version = next((info[name] for name in VERSIONS if info.get(name)), None)
    return Stat(url, int(info["size"]), str(version))


def find(url: str) -> list[Stat]:
    """Every file below a folder, in the order of their names."""
    fs, path = filesystem(url)
    with reading(url):
        if not fs.isdir(path):
            raise HeadraceError(f"{address.redact(url)}: no such folder; check the path")
        found = fs.find(path, detail=True)
    return [
        stat_of(address.absolute(fs.unstrip_protocol(name)), info)
        for name, info in sorted(found.items())
        if not modes.S_ISFIFO(info.get("mode") or 0)  # reading one would wait for ever
    ]


def names(url: str) -> set[str]:
    """The names of the files in a folder; none if there is no such folder."""
    fs, path = filesystem(url)
    with reading(url):
        found = fs.ls(path, detail=False) if fs.exists(path) else []
    return {name.rpartition("/")[2] for name in found}


def exists(url: str, timeout: float | None = None) -> bool:
    """Whether a file is there. `timeout` is as in `read_bytes`.

    Raises Unavailable if the store does not tell.
    """
    fs, path = filesystem(url)
    with reading(url):
        if not getattr(fs, "async_impl", False):
            return bool(fs.exists(path))
        try:  # fsspec's own `exists` takes any answer of a web server but 200 for a no
            call(fs, "info", path, timeout=timeout)
        except Exception as error:
            if faults.is_missing(error):
                return False
            raise
        return True


@contextlib.contextmanager
def open_read(url: str) -> Iterator[IO[bytes]]:
    """A seekable file, opened for reading in the block."""
    fs, path = filesystem(url)
    with reading(url), fs.open(path, "rb") as file:
        yield file


def read_bytes(
    url: str, start: int | None = None, stop: int | None = None, timeout: float | None = None
) -> bytes:
    """A file's bytes, or the range [start, stop) of them.

    A store on the network that takes more than `timeout` seconds is Unavailable.
    """
    fs, path = filesystem(url)
    with reading(url):
        data: bytes = call(fs, "cat_file", path, start=start, end=stop, timeout=timeout)
    return data


def call(fs: Any, name: str, *args: Any, timeout: float | None, **options: Any) -> Any:
    """Calls a method of a store. Only where it waits in a loop can the waiting be ended: after
    `timeout` seconds with TimeoutError, and with CancelledError when this thread's work ends."""
    if not getattr(fs, "async_impl", False):
        return getattr(fs, name)(*args, **options)
    return finish(fs, getattr(fs, f"_{name}")(*args, **options), timeout)


def finish(fs: Any, work: Coroutine[Any, Any, T], timeout: float | None) -> T:
    """The same of any work for a store that has a loop."""
    return ending.result(asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout), fs.loop))


def is_local(url: str) -> bool:
    """Whether a file lies on a disk of this machine."""
    return _speaks(url, "file")


def is_s3(url: str) -> bool:
    """Whether a file lies in a store that is spoken to as S3."""
    return _speaks(url, "s3")


def _speaks(url: str, protocol: str) -> bool:
    fs, _ = filesystem(url)
    return protocol in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))
