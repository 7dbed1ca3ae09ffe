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
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    offset = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for info in tar:
                offset = info.offset
                # tarfile notices a member cut short only when asked for the next one.
                if info.offset_data + info.size > size:
                    damage.append(Damage(offset, f"the archive ends inside {info.name!r}"))
                    return
                if info.isreg():
                    key, extension = split_name(info.name)
                    yield Member(key, extension, info.offset_data, info.size)
                offset = info.offset_data + -(-info.size // BLOCK) * BLOCK
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        damage.append(Damage(offset, f"the archive cannot be read on: {error}"))
        return
    # Without an end mark, tarfile stops at garbage as if it were the end.
    file.seek(offset)
    if file.read(BLOCK) != bytes(BLOCK):
        damage.append(Damage(offset, "the archive ends without its end mark"))
