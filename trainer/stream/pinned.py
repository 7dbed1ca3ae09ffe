"""Whole shards on the disk of a node, fetched once for all its ranks. No batch depends on it.

    <folder>/shards/<fingerprint>.tar            a whole shard
    <folder>/shards/.<fingerprint>.tar.partial   being fetched or checked, by who holds its lock
    <folder>/shards/.lock                        held while room is made

A process may be killed at any moment: what it held a lock on is anybody's then.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import IO

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience, read_range
from pipeline.format.shards import ShardSet

log = logging.getLogger(__name__)

PIECE = 16 << 20
"""Bytes that are asked for at once."""
WAIT = 0.2
"""Seconds until the work of other ranks is looked at again."""


class Pinned:
    """The copies in one folder, which never grow over `max_bytes` together."""

    def __init__(self, folder: str, max_bytes: int, patience: Patience | None = None) -> None:
        """Raises HeadraceError if the folder cannot be made."""
        self._folder = os.path.join(os.path.expanduser(folder), "shards")
        self._max_bytes, self._patience = max_bytes, patience or Patience()
        self._wanted: dict[str, int] = {}
        self._here: set[str] = set()
        self._begun = time.time_ns()
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        try:
            os.makedirs(self._folder, exist_ok=True)
        except OSError as error:
            raise HeadraceError(
                f"stream.cache.folder: {folder}: {error.strerror}; name one that can be written"
            ) from error

    def want(self, shards: ShardSet) -> None:
        """Begins to fetch a set, in a thread; ranks that want the same one share the work.

        Raises HeadraceError if all that was wanted is more than `max_bytes`.
        """
        sizes = {shards.fingerprint(n): int(shards.nbytes[n]) for n in range(len(shards.paths))}
        wanted = self._wanted | sizes
        if sum(wanted.values()) > self._max_bytes:
            raise HeadraceError(
                f"stream.cache.max_bytes: {self._max_bytes} bytes cannot hold {shards.label}; all "
                f"sources with `block: 1` have {sum(wanted.values())}; allow as many, or read it "
                "by blocks"
            )
        self._wanted = wanted
        # It may die with the process: what it leaves is swept by the next.
        thread = threading.Thread(target=self._fill, args=(shards,), name="pin", daemon=True)
        self._threads.append(thread)
        thread.start()

    def read(self, shards: ShardSet, n: int, start: int, stop: int) -> bytes | None:
        """The bytes [start, stop) of shard `n`; None if it is not here, not yet or no longer."""
        name = shards.fingerprint(n)
        if name not in self._here:
            return None
        try:
            with open(self._path(name), "rb", buffering=0) as file:
                data = os.pread(file.fileno(), stop - start, start)
        except OSError:
            self._here.discard(name)
            return None
        return data if len(data) == stop - start else None

    def close(self) -> None:
        """Fetches no more. What is here can still be read."""
        self._closed.set()

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, f"{name}.tar")

    def _fill(self, shards: ShardSet) -> None:
        """Goes round until each shard is here, skipping those that another rank is at."""
        left = list(range(len(shards.paths)))
        try:
            while left:
                busy = [n for n in left if not self._closed.is_set() and not self._has(shards, n)]
                if len(busy) == len(left):
                    self._closed.wait(WAIT)
                left = busy
        except OSError as error:
            log.warning("%s: no more shards are pinned: %s", self._folder, error)

    def _has(self, shards: ShardSet, n: int) -> bool:
        """Sees to one shard. False: somebody else is at it, or the room is still taken."""
        name = shards.fingerprint(n)
        try:
            with _held(_partial(self._path(name))) as file:
                if file is None:
                    return False
                if not self._is_good(shards, n):
                    if not self._make_room(file, int(shards.nbytes[n])):
                        return False
                    if not self._fetch(shards, n, file):
                        return False
        except HeadraceError as error:
            log.warning("%s is not pinned, but read from its store: %s", shards.url(n), error)
            return True
        self._here.add(name)
        return True

    def _is_good(self, shards: ShardSet, n: int) -> bool:
        """Checks a copy, if no rank has done so since this one began. Marks it as used."""
        path = self._path(shards.fingerprint(n))
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            found = os.fstat(file.fileno())
            if found.st_size == shards.nbytes[n] and (
                found.st_mtime_ns >= self._begun
                or shards.indexes is not None
                or hashlib.file_digest(file, "sha256").hexdigest() == shards.versions[n]
            ):
                os.utime(path)
                return True
            os.unlink(path)
        return False

    def _make_room(self, file: IO[bytes], nbytes: int) -> bool:
        """Takes room for a shard, if need be of copies that were not used for longest."""
        with self._alone():
            files = self._files()
            free = self._max_bytes - sum(size for _, size, _ in files)
            for _, size, path in files:
                if free >= nbytes:
                    break
                free += size if self._give_up(path) else 0
            if free < nbytes:
                return False
            if nbytes:
                os.posix_fallocate(file.fileno(), 0, nbytes)
            return True

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else takes room or gives a file its name in this block."""
        with open(os.path.join(self._folder, ".lock"), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _files(self) -> list[tuple[int, int, str]]:
        """Time of use, size and path of all there is, the oldest first."""
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    found.append((entry.stat().st_mtime_ns, entry.stat().st_size, entry.path))
        return sorted(found)

    def _give_up(self, path: str) -> bool:
        """Removes a copy that is not wanted here, or what a killed process left."""
        name = os.path.basename(path)
        if name.endswith(store.PARTIAL):
            with _held(path) as file:
                return file is not None
        if not name.endswith(".tar") or name.removesuffix(".tar") in self._wanted:
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return True

    def _fetch(self, shards: ShardSet, n: int, file: IO[bytes]) -> bool:
        """False if this was closed meanwhile. Raises HeadraceError if the shard is another one."""
        url, nbytes, digest = shards.url(n), int(shards.nbytes[n]), hashlib.sha256()
        for start in range(0, nbytes, PIECE):
            if self._closed.is_set():
                return False
            data = read_range(url, start, min(start + PIECE, nbytes), self._patience)
            digest.update(data)
            file.write(data)
        version = digest.hexdigest() if shards.indexes is None else store.stat(url).etag
        if version != shards.versions[n]:
            raise HeadraceError(f"its version is {version}, not {shards.versions[n]}")
        file.flush()
        os.fsync(file.fileno())
        path = self._path(shards.fingerprint(n))
        with self._alone():
            os.replace(_partial(path), path)
        return True


def _partial(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}{store.PARTIAL}")


@contextlib.contextmanager
def _held(path: str) -> Iterator[IO[bytes] | None]:
    """An empty file that is this block's own, or None while it is somebody else's.

    It is gone after the block, unless it has got another name by then.
    """
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        if not _is_at(file, path):  # its owner has just renamed or removed it
            yield None
            return
        try:
            file.truncate()
            yield file
        finally:
            if _is_at(file, path):
                os.unlink(path)


def _is_at(file: IO[bytes], path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    return False
