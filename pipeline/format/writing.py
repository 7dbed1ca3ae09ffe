"""Files published whole: each appears complete under its name, or not at all.

Every file headrace writes goes through `publishing` or `swap`.
"""

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from pipeline.format import address, faults, sending, store
from pipeline.format.errors import HeadraceError

PARTIAL = ".partial"


def publish(url: str, data: bytes, create_only: bool = False) -> None:
    """Writes a whole file; see `publishing`."""
    with publishing(url, create_only) as file:
        file.write(data)


@contextlib.contextmanager
def publishing(url: str, create_only: bool = False) -> Iterator[IO[bytes]]:
    """A file to write, which appears under `url` complete when the block ends, or never.

    With `create_only`, raises FileExistsError if the name is taken by then (stores without a
    conditional put are checked just before). Raises HeadraceError if the store refuses, one on the
    network not before it was asked again for some minutes.
    """
    _, path = store.filesystem(url)
    local = store.is_local(url)
    folder = os.path.dirname(path) if local else None
    with _told(url):
        if folder:
            _make(folder)
        with _claimed(folder, os.path.basename(path)) as file:
            try:
                yield file
                file.flush()
                if local:
                    _move_into_place(file, path, create_only)
                else:
                    sending.send(file.name, url, create_only)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file.name)


def swap(url: str, expected: bytes | None, data: bytes) -> bool:
    """Replaces a small file if it still holds `expected` (None: is not there), and says if it did.

    Of many who swap at once one wins, on a disk and on S3 with conditional puts; other stores are
    looked at just before. Raises HeadraceError if the store refuses.
    """
    if store.is_s3(url):
        return sending.swap(url, expected, data)
    with _alone(url):
        held = store.read_bytes(url) if store.exists(url) else None
        if held == expected:
            publish(url, data)
        return held == expected


def remove(url: str) -> None:
    """Removes one file; a missing one is no error. Raises HeadraceError if the store refuses."""
    _, path = store.filesystem(url)
    if store.is_local(url):
        with _told(url, "removed"), contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    else:
        sending.delete(url)


@contextlib.contextmanager
def _told(url: str, done: str = "written") -> Iterator[None]:
    """Turns what a disk raises into one line that names the file."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise HeadraceError(f"{address.redact(url)}: not {done}: {_why(error)}") from error


@contextlib.contextmanager
def _alone(url: str) -> Iterator[None]:
    """One process at a time is here with a file of a disk: it holds a hidden file beside, which
    is gone afterwards, and which `sweep` removes if it was killed."""
    if not store.is_local(url):
        yield
        return
    _, path = store.filesystem(url)
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}.swap{PARTIAL}")
    with _told(url):
        _make(folder)
        file = _locked(lambda: open(beside, "ab"))  # noqa: SIM115
    with file:
        try:
            yield
        finally:
            os.unlink(beside)


def _make(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError as error:  # it means the folder: the file's own name is not taken
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error


def _claimed(folder: str | None, name: str) -> Any:
    """A hidden file of one's own, locked."""
    prefix = f".{name}."
    return _locked(
        lambda: tempfile.NamedTemporaryFile(dir=folder, prefix=prefix, suffix=PARTIAL, delete=False)
    )


def _locked(make: Callable[[], Any]) -> Any:
    """A hidden file, locked. One that was removed before it was locked is made again."""
    while True:
        file = make()
        fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(file.name), os.fstat(file.fileno())):
                return file
        file.close()


def _move_into_place(file: Any, path: str, create_only: bool) -> None:
    os.fchmod(file.fileno(), 0o644)
    os.fsync(file.fileno())
    if create_only:
        os.link(file.name, path)
    else:
        os.replace(file.name, path)


def _why(error: OSError) -> str:
    advice = {
        errno.ENOSPC: "the disk is full; free some space and run the same command again",
        errno.EDQUOT: "the quota is used up; free some space and run the same command again",
        errno.EROFS: "the store is read-only; write somewhere else",
        errno.EACCES: "writing is not allowed; check the owner and mode of the folder",
        errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
    }
    return advice.get(error.errno or 0) or faults.reason(error)


def sweep(url: str) -> None:
    """Removes what killed writers left below a local folder; never what a living one holds."""
    _, path = store.filesystem(url)
    if not store.is_local(url):
        return
    for partial in Path(path).rglob(f".*{PARTIAL}"):
        with contextlib.suppress(OSError), partial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()
