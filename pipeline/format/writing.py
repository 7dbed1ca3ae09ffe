"""Files published whole: each appears complete under its name, or not at all.

Every file headrace writes goes through `publishing`.
"""

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pipeline.format import address, faults, store
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
    conditional put are checked just before). Raises HeadraceError if the store refuses.
    """
    fs, path = store.filesystem(url)
    local = store.is_local(url)
    folder = os.path.dirname(path) if local else None
    try:
        if folder:
            os.makedirs(folder, exist_ok=True)
        with _claimed(folder, os.path.basename(path)) as file:
            try:
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
        if not faults.is_of_a_store(error):
            raise
        raise HeadraceError(
            f"{address.redact(url)}: not written: {faults.reason(error)}"
        ) from error


def _claimed(folder: str | None, name: str) -> Any:
    """A hidden file that `sweep` leaves alone. One swept before it was locked is begun again."""
    while True:
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115
            dir=folder, prefix=f".{name}.", suffix=PARTIAL, delete=False
        )
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.path.exists(file.name):
            return file
        file.close()


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
    reason = advice.get(error.errno or 0) or faults.reason(error)
    return f"{address.redact(url)}: not written: {reason}"


def sweep(url: str) -> None:
    """Removes what killed writers left below a local folder; never what a living one holds."""
    _, path = store.filesystem(url)
    if not store.is_local(url):
        return
    for partial in Path(path).rglob(f".*{PARTIAL}"):
        with contextlib.suppress(OSError), partial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()
