"""Changes to a store on the network: asked for again until they are made, and made once.

What had no answer may have been done all the same. So whoever meets its own bytes has succeeded.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import SLOWEST, Patience, patiently, read_range

DEADLINE = "HEADRACE_STORE_DEADLINE"
"""The environment's name for how many seconds a store that fails is asked again."""

PIECE = 8 << 20
"""Bytes of a file that are compared at a time."""


def patience() -> Patience:
    """Of all writers: five minutes, or what the environment says."""
    said = os.environ.get(DEADLINE)
    try:
        if not said:
            return Patience()
        deadline = float(said)
        return Patience(deadline=deadline, stall=min(Patience.stall, deadline))
    except ValueError:
        raise HeadraceError(f"{DEADLINE}: {said!r} is no number of seconds above 0") from None


def send(file: str, url: str, create_only: bool) -> None:
    """Brings a local file to a store.

    With `create_only`, raises FileExistsError if another file is there. Raises HeadraceError if the
    store refuses, or does nothing else until the deadline.
    """
    nbytes = os.path.getsize(file)
    try:
        _insist(url, partial(_put, url, file, create_only), nbytes)
    except FileExistsError:
        if not _holds(url, file, nbytes):
            raise


def swap(url: str, expected: bytes | None, data: bytes) -> bool:
    """Replaces a file of S3 if it still holds `expected` (None: is not there); says if it did.

    The condition is the version that was read (ETag); where there is none, looking has to do.
    """
    fs, path = store.filesystem(url)
    held, version = patiently(partial(_held, url), url, patience())
    if held != expected:
        return False
    for condition in _conditions(held, version):
        try:
            _insist(url, partial(_put_if, fs, path, data, condition), len(data))
        except FileExistsError:
            now = patiently(partial(_held, url), url, patience())
            if now != (held, version):
                return now[0] == data
        else:
            return True
    return False


def _conditions(held: bytes | None, version: str | None) -> list[dict[str, str]]:
    """How to say that a file is still the one that was read, to be tried one after the other.

    Quotes belong to a version; Ceph 16 knows its own only without them.
    """
    if held is None:
        return [{"mode": "create"}]
    return [{"IfMatch": version}, {"IfMatch": version.strip('"')}] if version else [{}]


def delete(url: str) -> None:
    """Removes a file of a store; a missing one is no error."""
    fs, path = store.filesystem(url)
    _insist(url, partial(_remove, fs, path), 0, "removed")


def _insist(url: str, change: Callable[..., None], nbytes: int, done: str = "written") -> None:
    """Makes a change that sends `nbytes`. A try that takes too long is given up for another, and
    the deadline is one of all tries but the longest."""
    asked = patience()
    timeout = asked.stall + nbytes / SLOWEST
    asked = replace(asked, deadline=asked.deadline + timeout)

    def once() -> None:
        with store.changing(url, done):
            change(timeout=timeout)

    patiently(once, url, asked)


def _put(url: str, file: str, create_only: bool, timeout: float) -> None:
    fs, path = store.filesystem(url)
    # Some servers ignore the condition, and some that of an upload in parts.
    if create_only and store.exists(url, timeout):
        raise FileExistsError(url)
    mode = "create" if create_only else "overwrite"
    store.call(fs, "put_file", file, path, mode=mode, timeout=timeout)


def _put_if(fs: Any, path: str, data: bytes, condition: dict[str, str], timeout: float) -> None:
    try:
        store.call(fs, "pipe_file", path, data, timeout=timeout, **condition)
    except FileNotFoundError as error:
        if "IfMatch" not in condition:
            raise
        raise FileExistsError(path) from error  # it was removed, and is not what it was


def _remove(fs: Any, path: str, timeout: float) -> None:
    with contextlib.suppress(FileNotFoundError):
        store.call(fs, "rm_file", path, timeout=timeout)


def _held(url: str) -> tuple[bytes | None, str | None]:
    """What a file holds and its version; None if it is not there, or has none."""
    fs, path = store.filesystem(url)
    with store.reading(url):
        try:
            return store.finish(fs, _read(fs, path), patience().stall)
        except FileNotFoundError:
            return None, None


async def _read(fs: Any, path: str) -> tuple[bytes, str | None]:
    """Both of one and the same answer, which s3fs's own files do not give."""
    bucket, key, _ = fs.split_path(path)
    answer = await fs._call_s3("get_object", Bucket=bucket, Key=key)
    async with answer["Body"] as body:
        return await body.read(), answer.get("ETag")


def _holds(url: str, file: str, nbytes: int) -> bool:
    """Whether a store has exactly the bytes of a local file."""
    asked = patience()
    if patiently(partial(store.stat, url, asked.stall), url, asked).nbytes != nbytes:
        return False
    with open(file, "rb") as mine:
        for start in range(0, nbytes, PIECE):
            piece = mine.read(PIECE)
            if read_range(url, start, start + len(piece), asked) != piece:
                return False
    return True
