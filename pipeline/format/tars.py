"""Scanning a WebDataset tar: which samples it holds, and where their bytes lie.

The scan reads headers only. It never trusts the archive: a cut or damaged tar gives the samples
before the damage, then one `Damage` that says where the rest begins.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import IO

BLOCK = 512
MAX_HEADER = 1 << 20
"""Longest name or extended header that is read; tarfile reads nothing else."""

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "jp2")


@dataclass(frozen=True)
class Member:
    """One file of a tar: its data lie at [offset, offset + nbytes)."""

    key: str
    extension: str
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Sample:
    """The members that stand side by side under one key."""

    key: str
    members: dict[str, Member]

    @property
    def image(self) -> Member | None:
        """The first member with an image's extension."""
        return next((self.members[e] for e in IMAGE_EXTENSIONS if e in self.members), None)

    @property
    def start(self) -> int:
        """Where the first header begins."""
        return min(m.offset for m in self.members.values()) - BLOCK

    @property
    def stop(self) -> int:
        """Where the last member's data end."""
        return max(m.offset + m.nbytes for m in self.members.values())


@dataclass(frozen=True)
class Damage:
    """The unreadable rest of an archive."""

    offset: int
    message: str


def split_name(name: str) -> tuple[str, str]:
    """WebDataset's rule: the key ends at the first dot of the last path component."""
    folder, _, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return (f"{folder}/{stem}" if folder else stem), extension.lower()


def key_in_header(header: bytes) -> str:
    """The key in a member's 512-byte header. Raises ValueError if it is not a header."""
    try:
        name = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").name
    except tarfile.HeaderError as error:
        raise ValueError(f"no tar header: {error}") from error
    return split_name(name)[0]


def scan(file: IO[bytes]) -> Iterator[Sample | Damage]:
    """The samples of a seekable tar, in order; a `Damage` last if its end cannot be read.

    Members of one key that stand side by side are one sample, as in webdataset; a repeated
    extension begins another sample.
    """
    damage: list[Damage] = []
    run: dict[str, Member] = {}
    for key, members in groupby(_members(file, damage), key=lambda member: member.key):
        for member in members:
            if member.extension in run:
                yield Sample(key, run)
                run = {}
            run[member.extension] = member
        yield Sample(key, run)
        run = {}
    yield from damage


def _members(file: IO[bytes], damage: list[Damage]) -> Iterator[Member]:
    headers = _Headers(file)
    offset = 0
    try:
        with tarfile.open(fileobj=headers, mode="r:") as tar:  # type: ignore[call-overload]
            for info in tar:
                offset = info.offset
                # tarfile notices a member cut short only when asked for the next one.
                if not 0 <= info.size <= headers.size - info.offset_data:
                    damage.append(Damage(offset, f"the archive ends inside {info.name[:100]!r}"))
                    return
                if info.isreg():
                    key, extension = split_name(info.name)
                    yield Member(key, extension, info.offset_data, info.size)
                offset = info.offset_data + -(-info.size // BLOCK) * BLOCK
    except Exception as error:  # hostile headers make tarfile raise anything, even RecursionError
        if headers.failed:
            raise
        words = str(error) if isinstance(error, tarfile.TarError) else type(error).__name__
        damage.append(Damage(offset, f"the archive cannot be read on: {words}"))
        return
    # Without an end mark, tarfile stops at garbage as if it were the end.
    file.seek(offset)
    if file.read(BLOCK) != bytes(BLOCK):
        damage.append(Damage(offset, "the archive ends without its end mark"))
    elif any(rest.strip(b"\0") for rest in iter(lambda: file.read(MAX_HEADER), b"")):
        damage.append(Damage(offset, "samples or garbage follow the end mark"))


class _Headers:
    """A file as tarfile may see it: reads are bounded, and the store's failures are told apart."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.size = file.seek(0, os.SEEK_END)
        self.failed = False
        self.seek, self.tell = file.seek, file.tell
        file.seek(0)

    def read(self, count: int) -> bytes:
        try:
            return self.file.read(max(0, min(count, MAX_HEADER)))
        except RecursionError:  # names of names, down to here
            raise
        except Exception:
            self.failed = True
            raise
