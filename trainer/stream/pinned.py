"""Whole shards on the disk of a node, fetched once for all its ranks. No batch depends on it.

    <folder>/shards/<fingerprint>.tar            a whole shard
    <folder>/shards/.<fingerprint>.tar.partial   being fetched or checked, by who holds its lock
    <folder>/shards/.lock                        held while room is made

A process may be killed at any moment: what it held a lock on is anybody's then. A copy's time of
change is when it was last known to be right, its time of access when it was last used.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future
from typing import IO

from pipeline.format import ending, store, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience, read_range
from pipeline.format.shards import ShardSet, check_unchanged
from trainer.stream.lock import held

log = logging.getLogger(__name__)

PIECE = 16 << 20
"""Bytes that are asked for at once."""
WAIT = 0.2
"""Seconds until the work of other ranks is looked at again."""
MARK = 60.0
"""Seconds of reading a copy until it is marked as used again."""


def is_far(shards: ShardSet) -> bool:
    """Whether some of the shards lie on no disk of this machine."""
    urls = map(shards.url, range(len(shards.paths)))
    one_of_each_kind = {url.partition("://")[0]: url for url in urls}.values()
    return not all(store.is_local(url) for url in one_of_each_kind)


class Pinned:
    """The copies in one folder, which never grow over `max_bytes` together."""

    def __init__(self, folder: str, max_bytes: int, patience: Patience | None = None) -> None:
        """Raises HeadraceError if the folder is on no disk of this machine, or cannot be made."""
        self._folder = os.path.join(_path_of(folder), "shards")
        self.indexes = os.path.join(_path_of(folder), "indexes")
        """The folder where indexes of shards are kept. They come on top of `max_bytes`."""
        self._max_bytes, self._patience = max_bytes, patience or Patience()
        self._sets: list[ShardSet] = []
        self._wanted: dict[str, int] = {}
        self._here: dict[str, float] = {}  # and when each was last marked as used
        self._begun = time.time_ns()
        try:
            os.makedirs(self._folder, exist_ok=True)
        except OSError as error:
            raise HeadraceError(
                f"stream.cache.folder: {folder}: {error.strerror}; name one that can be written"
            ) from error

    def want(self, shards: ShardSet) -> None:
        """Has a set fetched by `fetching`.

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
        self._sets.append(shards)

    @contextlib.contextmanager
    def fetching(self) -> Iterator[list[threading.Thread]]:
        """Fetches what is wanted and not here, until the block ends. What is here can still be
        read then.

        Ranks that want the same share the work. Gives the threads, one a set, which end as soon as
        it is all here.
        """
        ended: Future[None] = Future()
        # They may die with the process: what they leave is swept by the next.
        threads = [
            threading.Thread(
                target=self._fill, args=(shards, ended), name="stream-pin", daemon=True
            )
            for shards in self._sets
        ]
        for thread in threads:
            thread.start()
        try:
            yield threads
        finally:
            ended.set_result(None)
            for thread in threads:
                thread.join()

    def read(self, shards: ShardSet, n: int, start: int, stop: int) -> bytes | None:
        """The bytes [start, stop) of shard `n`; None if it is not here, not yet or no longer."""
        name = shards.fingerprint(n)
        if name not in self._here:
            return None
        try:
            with open(self._path(name), "rb", buffering=0) as file:
                data = os.pread(file.fileno(), stop - start, start)
                self._mark(name, file)
        except OSError as error:
            self._lose(name, shards.url(n), error)
            return None
        return data if len(data) == stop - start else None

    def drop(self, shards: ShardSet, n: int) -> None:
        """Gives up a copy that has rotted; the next iteration fetches the shard anew."""
        name = shards.fingerprint(n)
        self._here.pop(name, None)
        with contextlib.suppress(OSError):
            os.unlink(self._path(name))
        log.warning("%s: its copy in the cache has rotted; it is fetched anew", shards.url(n))

    def forget(self, names: Iterable[str]) -> None:
        """Removes all there is of shards with these fingerprints, their indexes too."""
        for name in names:
            self._here.pop(name, None)
            index = os.path.join(self.indexes, f"{name}.idx.arrow")
            for path in (self._path(name), _partial(self._path(name)), index):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def _mark(self, name: str, file: IO[bytes]) -> None:
        """Tells other runs, now and then, that a copy is in use: they give up others first."""
        now = time.monotonic()
        if now - self._here.get(name, now) >= MARK:
            self._here[name] = now
            checked = os.fstat(file.fileno()).st_mtime_ns
            os.utime(file.fileno(), ns=(time.time_ns(), checked))

    def _lose(self, name: str, url: str, error: OSError) -> None:
        if self._here.pop(name, None) is not None:  # else another thread has told it
            log.warning(
                "%s is read from its store again, its copy cannot be: %s; runs that share a cache "
                "must fit in it together",
                *(url, error.strerror),
            )

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, f"{name}.tar")

    def _fill(self, shards: ShardSet, ended: Future[None]) -> None:
        """Goes round until each shard is here, skipping those that another rank is at."""
        ending.heed(ended)
        left = list(range(len(shards.paths)))
        writing.sweep(self.indexes)
        try:
            while left := [n for n in left if not self._has(shards, n)]:
                ending.pause(WAIT)
        except CancelledError:
            return
        except OSError as error:
            log.warning("%s: no more shards are pinned: %s", self._folder, error)

    def _has(self, shards: ShardSet, n: int) -> bool:
        """Sees to one shard. False: somebody else is at it, or the room is still taken."""
        ending.check()
        name = shards.fingerprint(n)
        if name in self._here:
            return True
        try:
            with held(_partial(self._path(name))) as file:
                if file is None:
                    return False
                if not self._is_good(shards, n):
                    if not self._make_room(file, int(shards.nbytes[n])):
                        return False
                    self._fetch(shards, n, file)
        except HeadraceError as error:
            log.warning("%s is not pinned, but read from its store: %s", shards.url(n), error)
            return True
        self._here[name] = time.monotonic()
        return True

    def _is_good(self, shards: ShardSet, n: int) -> bool:
        """Checks a copy, if no rank has done so since this one began. Marks it as used."""
        path = self._path(shards.fingerprint(n))
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            found = os.fstat(file.fileno())
            if found.st_size == shards.nbytes[n] and (
                found.st_mtime_ns >= self._begun
                or shards.indexes is not None
                or _sha256(file) == shards.versions[n]
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
                    found.append((entry.stat().st_atime_ns, entry.stat().st_size, entry.path))
        return sorted(found)

    def _give_up(self, path: str) -> bool:
        """Removes a copy that is not wanted here, or what a killed process left."""
        name = os.path.basename(path)
        if name.endswith(writing.PARTIAL):
            with held(path) as file:
                return file is not None
        if not name.endswith(".tar") or name.removesuffix(".tar") in self._wanted:
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return True

    def _fetch(self, shards: ShardSet, n: int, file: IO[bytes]) -> None:
        """Raises HeadraceError if the shard is another one than its set says."""
        url, nbytes, digest = shards.url(n), int(shards.nbytes[n]), hashlib.sha256()
        for start in range(0, nbytes, PIECE):
            data = read_range(url, start, min(start + PIECE, nbytes), self._patience)
            digest.update(data)
            file.write(data)
        check_unchanged(shards, n, self._patience)
        if shards.indexes is None and digest.hexdigest() != shards.versions[n]:
            raise HeadraceError(f"its sha256 is {digest.hexdigest()}, not {shards.versions[n]}")
        file.flush()
        os.fsync(file.fileno())
        path = self._path(shards.fingerprint(n))
        with self._alone():
            os.replace(_partial(path), path)


def _path_of(folder: str) -> str:
    if not store.is_local(folder):
        raise HeadraceError(
            f"stream.cache.folder: {folder}: is on no disk of this machine; name a folder that is"
        )
    return str(store.filesystem(folder)[1])


def _sha256(file: IO[bytes]) -> str:
    """Of a file that may be large: heeds the end of this thread's work."""
    digest = hashlib.sha256()
    while data := file.read(PIECE):
        ending.check()
        digest.update(data)
    return digest.hexdigest()


def _partial(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}{writing.PARTIAL}")
