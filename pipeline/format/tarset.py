"""Anyone's plain tars as the shards of a source: each is scanned once, and its index kept apart.

An index lies in a cache folder, never in the dataset, and is named by the full URL, size and
version of its tar: a tar that was rewritten is scanned anew, and two of one name never meet.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from pipeline.format import address, store, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience, patiently, read_range
from pipeline.format.shards import ShardSet, fingerprint, kept_index
from pipeline.format.snapshot import index_tar, parquet_bytes
from pipeline.format.store import Stat

log = logging.getLogger(__name__)

LISTED = 16
"""So many tars in one folder are looked up by listing it, fewer one by one: folders are large."""

READS = 16
"""Tars that are scanned at once, and indexes whose counts are read at once."""

PROGRESS = 30
"""Seconds between lines that tell how far a long scan is."""

TAIL = 1 << 16
"""Bytes at the end of an index that hold its counts, even those of some ten million samples."""

Run = Callable[[Callable[[Stat], bool], Sequence[Stat]], Iterable[bool]]
"""What does the work of many tars: here at once, or spread over machines."""


def at_once(work: Callable[[Stat], bool], tars: Sequence[Stat]) -> Iterator[bool]:
    """`map` by threads: a scan mostly waits for its store."""
    threads = ThreadPoolExecutor(READS)
    try:
        yield from threads.map(work, tars)
    finally:
        threads.shutdown(cancel_futures=True)  # one damaged tar ends it


def default_folder() -> str:
    """Where indexes are kept if nobody says: `$HEADRACE_CACHE`, else `~/.cache/headrace`."""
    return os.environ.get("HEADRACE_CACHE") or os.path.expanduser("~/.cache/headrace")


def tar_set(
    tars: str | Sequence[str],
    folder: str | None = None,
    run: Run = at_once,
    patience: Patience | None = None,
) -> ShardSet:
    """The tars that a URL, or a list of them, names: with `{00..99}` ranges and `*`, in order.

    Tars without an index in `folder` are scanned, as whole files; processes that do so at once
    share the work. Raises HeadraceError if a tar is missing, damaged or named twice.
    """
    patience = patience or Patience()
    named = [tars] if isinstance(tars, str) else list(tars)
    found = stats([url for pattern in named for url in _expanded(pattern, patience)], patience)
    indexes = address.join(address.absolute(folder or default_folder()), "indexes")
    _index_all(found, indexes, run, patience)
    with ThreadPoolExecutor(READS) as reads:
        samples = list(reads.map(partial(_samples, indexes=indexes, patience=patience), found))
    urls = [tar.url for tar in found]
    folders = {url.rpartition("/")[0] + "/" for url in urls}
    root = folders.pop() if len(folders) == 1 else ""
    return ShardSet(
        id=set_id([_fingerprint(tar) for tar in found], samples),
        label=address.redact(named[0]) + (f" and {len(named) - 1} more" if named[1:] else ""),
        root=root,
        paths=tuple(url.removeprefix(root) for url in urls),
        samples=np.array(samples, np.int64),
        nbytes=np.array([tar.nbytes for tar in found], np.int64),
        versions=tuple(tar.etag for tar in found),
        indexes=indexes,
    )


def _expanded(pattern: str, patience: Patience) -> list[str]:
    return patiently(partial(store.expand, pattern), pattern, patience)


def set_id(fingerprints: Sequence[str], samples: Sequence[int]) -> str:
    """The id of tars in this order: 32 hex digits of all that is known of them."""
    rows = (f"{name} {count}\n" for name, count in zip(fingerprints, samples, strict=True))
    return hashlib.sha256("".join(rows).encode()).hexdigest()[:32]


def stats(urls: Sequence[str], patience: Patience) -> list[Stat]:
    """Size and version of each file. Raises HeadraceError if one is missing or named twice."""
    if not urls:
        raise HeadraceError("no tars are named; give at least one URL or pattern")
    if repeated := [url for url, count in Counter(urls).items() if count > 1]:
        raise HeadraceError(f"{address.redact(repeated[0])}: named twice; name each tar once")
    folders = Counter(url.rpartition("/")[0] for url in urls)
    known: dict[str, Stat] = {}
    for folder, count in folders.items():
        known |= _listed(folder) if count >= LISTED else {}
    return [known.get(url) or _stat(url, patience) for url in urls]


def _stat(url: str, patience: Patience) -> Stat:
    return patiently(partial(store.stat, url, patience.stall), url, patience)


def _listed(folder: str) -> dict[str, Stat]:
    """The files in a folder by URL; none where the store cannot list it, or tells no sizes."""
    fs, path = store.filesystem(folder)
    with contextlib.suppress(HeadraceError, NotImplementedError), store.reading(folder):
        names = {
            address.join(folder, one["name"].rpartition("/")[2]): one for one in fs.ls(path, True)
        }
        return {
            url: store.stat_of(url, one)
            for url, one in names.items()
            if one.get("size") and not one.get("islink")  # the version there is of the link
        }
    return {}


def index_one(tar: Stat, indexes: str, patience: Patience, wait: bool = True) -> bool:
    """Scans a tar into the folder `indexes`, if nobody did; what appears there is whole.

    False if another process is at it, unless it is to `wait` for that. Raises HeadraceError,
    with the place of the damage, if the tar is damaged.
    """
    url = _index_url(tar, indexes)
    with _locked(url, wait) as mine:
        if mine and not store.exists(url):
            table = patiently(partial(index_tar, tar.url), tar.url, patience)
            if _stat(tar.url, patience) != tar:
                raise HeadraceError(
                    f"{address.redact(tar.url)}: changed while it was scanned; run again once it "
                    "is written"
                )
            writing.publish(url, parquet_bytes(table))
    return mine


def _index_all(tars: Sequence[Stat], indexes: str, run: Run, patience: Patience) -> None:
    """First what no other process is at, so that they share the work, then what they left."""
    have = patiently(partial(store.names, indexes), indexes, patience)
    todo = [tar for tar in tars if _index_url(tar, indexes).rpartition("/")[2] not in have]
    if todo:
        _make_folder(indexes)
        writing.sweep(indexes)
        nbytes = sum(tar.nbytes for tar in todo)
        log.warning("scanning %d tars of %.1f GB for their indexes, once", len(todo), nbytes / 1e9)
    for wait in (False, True):
        one = partial(index_one, indexes=indexes, patience=patience, wait=wait)
        made = _telling(run(one, todo), len(todo)) if todo else []
        todo = [tar for tar, done in zip(todo, made, strict=True) if not done]


def _telling(made: Iterable[bool], count: int) -> Iterator[bool]:
    """The same, with a line now and then."""
    last = time.monotonic()
    for n, done in enumerate(made, 1):
        yield done
        if n < count and time.monotonic() - last >= PROGRESS:
            last = time.monotonic()
            log.warning("scanned %d of %d tars", n, count)


def _samples(tar: Stat, indexes: str, patience: Patience) -> int:
    url = _index_url(tar, indexes)
    size = _stat(url, patience).nbytes
    tail = pa.BufferReader(read_range(url, max(0, size - TAIL), size, patience))
    try:
        return int(pq.read_metadata(tail).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise HeadraceError(
            f"{url}: not a readable index: {error}; remove it, and run again"
        ) from error


def _fingerprint(tar: Stat) -> str:
    return fingerprint(tar.url, tar.nbytes, tar.etag)


def _index_url(tar: Stat, indexes: str) -> str:
    return kept_index(indexes, _fingerprint(tar))


@contextlib.contextmanager
def _locked(url: str, wait: bool) -> Iterator[bool]:
    """Whether this process holds the right to write an index, in a local folder.

    Stores have no locks: there, processes may do one work twice, with the same bytes.
    """
    fs, path = store.filesystem(url)
    if not isinstance(fs, LocalFileSystem):
        yield True
        return
    lock = Path(path).with_name(f".{Path(path).name}.lock")
    with contextlib.ExitStack() as held:
        try:
            file = held.enter_context(lock.open("wb"))
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            raise _no_cache(url.rpartition("/")[0], error) from error
        yield True
        lock.unlink(missing_ok=True)  # who waited for it finds the index


def _make_folder(url: str) -> None:
    """A local one: the stores that have folders at all make them as they are written to."""
    fs, path = store.filesystem(url)
    try:
        if isinstance(fs, LocalFileSystem):
            fs.makedirs(path, exist_ok=True)
    except OSError as error:
        raise _no_cache(url, error) from error


def _no_cache(url: str, error: OSError) -> HeadraceError:
    return HeadraceError(
        f"{url}: the cache cannot be written: {error.strerror or error}; name another folder in "
        "HEADRACE_CACHE or stream.cache.folder"
    )
