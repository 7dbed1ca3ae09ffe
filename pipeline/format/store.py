"""Files by URL: expanding, reading, and publishing them whole.

Every file headrace writes goes through `publishing`: it appears complete under its name, or not
at all. Paths are fsspec URLs everywhere; a plain path is a local file.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import re
import stat as modes
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.asyn import get_loop

from pipeline.format.errors import HeadraceError

PARTIAL = ".partial"
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_USER = re.compile(r"(?<=://)[^/]*@")


@dataclass(frozen=True)
class Stat:
    """What a store says of a file without reading it: enough to notice that it changed."""

    url: str
    nbytes: int
    etag: str


def absolute(url: str) -> str:
    """The canonical form of a URL: a plain path becomes `file:///…`, a trailing slash goes.

    Raises HeadraceError if the URL carries a password or key: those belong in the environment,
    where no log, manifest or ledger can repeat them.
    """
    if "://" not in url:
        return f"file://{os.path.abspath(os.path.expanduser(url))}"
    if redact(url) != url:
        raise HeadraceError(
            f"{redact(url)}: the URL carries credentials; put them in the environment "
            "(AWS_ACCESS_KEY_ID, a profile, a token file) and leave the URL plain"
        )
    return url.rstrip("/")


def redact(url: str) -> str:
    """The URL without user, password and signed query: what may be logged and recorded.

    A local path may hold any sign, and a `?` without `=` is a glob.
    """
    if "://" not in url or url.startswith("file://"):
        return url
    address, sign, query = url.partition("?")
    return _USER.sub("", address) + ("" if "=" in query else sign + query)


def join(url: str, *names: str) -> str:
    """`url` with path components added."""
    return "/".join([url.rstrip("/"), *names])


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it."""
    try:
        # Other processes write here: a listing kept from before would hide what they published.
        fs, path = fsspec.core.url_to_fs(absolute(url), use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise HeadraceError(f"{redact(url)}: no such kind of store: {error}") from error
    if getattr(fs, "async_impl", False):
        get_loop().set_exception_handler(_pass_over)  # the one that all such stores work in
    return fs, path


def _pass_over(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Keeps from the console what a store's client raised in a task that nobody waited for.

    A store that hangs up ends several at once; one of them reaches `reading` or `publishing`.
    """
    error = context.get("exception")
    theirs = isinstance(error, Exception) and (
        isinstance(error, ConnectionError) or _is_of_a_store(error)
    )
    if not (theirs and context["message"].endswith("exception was never retrieved")):
        loop.default_exception_handler(context)


def expand(pattern: str) -> list[str]:
    """All files that a URL with `{00000..00999}` ranges and `*` globs names, in name order.

    Ranges keep their zero padding, and each name they give must exist: a hole in a range is a
    shard lost on the way, not a smaller pool.
    """
    urls = [url for braced in _expand_braces(pattern) for url in _expand_glob(absolute(braced))]
    if not urls:
        raise HeadraceError(f"{redact(pattern)}: no file matches; check the path and the pattern")
    return urls


def _expand_braces(pattern: str) -> list[str]:
    match = _BRACES.search(pattern)
    if match is None:
        return [pattern]
    low, high = match.groups()
    if int(high) < int(low):
        raise HeadraceError(f"{redact(pattern)}: the range {match[0]} runs backwards")
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
        return sorted(absolute(fs.unstrip_protocol(found)) for found in fs.glob(path))


@contextlib.contextmanager
def reading(url: str) -> Iterator[None]:
    """Turns what a store raises while `url` is read into one line that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise HeadraceError(f"{redact(url)}: no such file; check the path") from error
    except PermissionError as error:
        raise HeadraceError(
            f"{redact(url)}: reading is not allowed; check the credentials or file mode"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise HeadraceError(f"{redact(url)}: the store cannot be read: {reason}") from error
    except Exception as error:
        if not _is_of_a_store(error):
            raise
        raise HeadraceError(f"{redact(url)}: the store cannot be read: {error}") from error


def _is_of_a_store(error: Exception) -> bool:
    """Whether a store's client library raised it; theirs have no base class to name here."""
    return type(error).__module__.partition(".")[0] in ("botocore", "aiobotocore", "aiohttp")


def stat(url: str) -> Stat:
    """Size and version of a file. Local files use their time of change as the version."""
    fs, path = filesystem(url)
    with reading(url):
        return stat_of(url, fs.info(path))


def stat_of(url: str, info: dict[str, Any]) -> Stat:
    """The same, from what a listing already told."""
    version = info.get("ETag") or info.get("etag") or info.get("mtime") or info.get("LastModified")
    return Stat(url, int(info["size"]), str(version))


def find(url: str) -> list[Stat]:
    """Every file below a folder, in the order of their names."""
    fs, path = filesystem(url)
    with reading(url):
        if not fs.isdir(path):
            raise HeadraceError(f"{redact(url)}: no such folder; check the path")
        found = fs.find(path, detail=True)
    return [
        stat_of(absolute(fs.unstrip_protocol(name)), info)
        for name, info in sorted(found.items())
        if not modes.S_ISFIFO(info.get("mode") or 0)  # reading one would wait for ever
    ]


def names(url: str) -> set[str]:
    """The names of the files in a folder; none if there is no such folder."""
    fs, path = filesystem(url)
    with reading(url):
        found = fs.ls(path, detail=False) if fs.exists(path) else []
    return {name.rpartition("/")[2] for name in found}


def exists(url: str) -> bool:
    """Whether a file is there."""
    fs, path = filesystem(url)
    with reading(url):
        return bool(fs.exists(path))


@contextlib.contextmanager
def open_read(url: str) -> Iterator[IO[bytes]]:
    """A seekable file, opened for reading in the block."""
    fs, path = filesystem(url)
    with reading(url), fs.open(path, "rb") as file:
        yield file


def read_bytes(url: str, start: int | None = None, stop: int | None = None) -> bytes:
    """A file's bytes, or the range [start, stop) of them."""
    fs, path = filesystem(url)
    with reading(url):
        data: bytes = fs.cat_file(path, start=start, end=stop)
    return data


def publish(url: str, data: bytes, create_only: bool = False) -> None:
    """Writes a whole file; see `publishing`."""
    with publishing(url, create_only) as file:
        file.write(data)


@contextlib.contextmanager
def publishing(url: str, create_only: bool = False) -> Iterator[IO[bytes]]:
    """A file to write, which appears under `url` complete when the block ends, or never.

    With `create_only`, raises FileExistsError if the name is taken by then (stores without a
    conditional put are checked just before). Raises HeadraceError if the store refuses.
    """
    fs, path = filesystem(url)
    local = _is_local(fs)
    folder = os.path.dirname(path) if local else None
    try:
        if folder:
            os.makedirs(folder, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=folder, prefix=f".{os.path.basename(path)}.", suffix=PARTIAL, delete=False
        ) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)  # tells `sweep` that its owner lives
                yield file
                file.flush()
                _move_into_place(fs, file, path, local, create_only)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file.name)
    except FileExistsError:
        raise
    except OSError as error:
        raise HeadraceError(_why_not_written(url, error)) from error
    except Exception as error:
        if not _is_of_a_store(error):
            raise
        raise HeadraceError(f"{redact(url)}: not written: {error}") from error


def _is_local(fs: Any) -> bool:
    return "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))


def _move_into_place(fs: Any, file: Any, path: str, local: bool, create_only: bool) -> None:
    if not local:
        fs.put_file(file.name, path, mode="create" if create_only else "overwrite")
        return
    os.fchmod(file.fileno(), 0o644)
    os.fsync(file.fileno())
    if create_only:
        os.link(file.name, path)
    else:
        os.replace(file.name, path)


def _why_not_written(url: str, error: OSError) -> str:
    advice = {
        errno.ENOSPC: "the disk is full; free some space and run the same command again",
        errno.EDQUOT: "the quota is used up; free some space and run the same command again",
        errno.EROFS: "the store is read-only; write somewhere else",
        errno.EACCES: "writing is not allowed; check the owner and mode of the folder",
        errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
    }
    reason = advice.get(error.errno or 0) or error.strerror or str(error)
    return f"{redact(url)}: not written: {reason}"


def sweep(url: str) -> None:
    """Removes what killed writers left below a local folder; never what a living one holds."""
    fs, path = filesystem(url)
    if not _is_local(fs):
        return
    for partial in Path(path).rglob(f".*{PARTIAL}"):
        with contextlib.suppress(OSError), partial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()
