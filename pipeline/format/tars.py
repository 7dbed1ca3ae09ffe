"""Scanning a WebDataset tar: which samples it holds, and where their bytes lie.

The scan reads headers only. It never trusts the archive: a cut or damaged tar gives the samples
before the damage, then one `Damage` that says where the rest begins.
"""

import io
import os
import tarfile
from collections.abc import Generator, Iterator
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
    header: int
    """Where its header begins, or the extended one before that."""


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
        return min(m.header for m in self.members.values())

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


def printable(key: str) -> str:
    r"""A key as tables hold it: bytes that are no UTF-8 are written as `\xff`."""
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def short_key(header: bytes) -> str:
    """The printable key in the first field of a header, which extended headers may overrule."""
    name = header[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape")
    return printable(split_name(name)[0])


def key_at(data: bytes, offset: int) -> str:
    """The printable key of the member whose data begin at `offset` of some whole members.

    Raises ValueError if no member's do.
    """
    for member in _members(_Headers(io.BytesIO(data), None), 0, []):
        if member.offset == offset:
            return printable(member.key)
    raise ValueError(f"no member's data begin at byte {offset}")


def key_in_header(header: bytes) -> str:
    """The key in a member's 512-byte header. Raises ValueError if it is not a header."""
    try:
        name = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").name
    except tarfile.HeaderError as error:
        raise ValueError(f"no tar header: {error}") from error
    return split_name(name)[0]


def scan(file: IO[bytes], start: int = 0, stop: int | None = None) -> Iterator[Sample | Damage]:
    """The samples of a seekable tar, in order; a `Damage` last if its end cannot be read.

    The tar lies at [start, stop) of the file, by default all of it; offsets count from the file's
    first byte. Tars joined end to end (`cat a.tar b.tar`) are read as one. Members of one key that
    stand side by side are one sample, as in webdataset; a repeated extension begins another.
    """
    damage: list[Damage] = []
    run: dict[str, Member] = {}
    members = _members(_Headers(file, stop), start, damage)
    for key, group in groupby(members, key=lambda member: member.key):
        for member in group:
            if member.extension in run:
                yield Sample(key, run)
                run = {}
            run[member.extension] = member
        yield Sample(key, run)
        run = {}
    yield from damage


def _members(headers: "_Headers", start: int, damage: list[Damage]) -> Iterator[Member]:
    following: int | None = start
    while following is not None:
        mark = yield from _archive(headers, following, damage)
        following = None if damage else _block_after_zeros(headers, mark)
        if following is not None and not _is_header(headers, following):
            damage.append(Damage(following, "garbage follows the end mark"))
            return


def _archive(headers: "_Headers", start: int, damage: list[Damage]) -> Generator[Member, None, int]:
    """The members of one tar; returns where its end mark stands."""
    offset = start
    headers.seek(start)
    try:
        with tarfile.open(fileobj=headers, mode="r:") as tar:  # type: ignore[call-overload]
            while (info := tar.next()) is not None:
                tar.members.clear()  # or a tar of millions would be kept whole
                offset = info.offset
                # The data of a file with holes take other room than its size says.
                nbytes = tar.offset - info.offset_data if info.issparse() else info.size
                # tarfile notices a member cut short only when asked for the next one.
                if not 0 <= nbytes <= headers.stop - info.offset_data:
                    damage.append(Damage(offset, f"the archive ends inside {info.name[:100]!r}"))
                    return offset
                if info.isreg():
                    yield _member(info, nbytes)
                offset = min(tar.offset, headers.stop)  # the last block may be cut short
    except Exception as error:  # hostile headers make tarfile raise anything, even RecursionError
        if headers.failed:
            raise
        words = str(error) if isinstance(error, tarfile.TarError) else type(error).__name__
        damage.append(Damage(offset, f"the archive cannot be read on: {words}"))
        return offset
    # Without an end mark, tarfile stops at garbage as if it were the end.
    headers.seek(offset)
    if headers.read(BLOCK) != bytes(BLOCK):
        damage.append(Damage(offset, "the archive ends without its end mark"))
    return offset


def _member(info: tarfile.TarInfo, nbytes: int) -> Member:
    """A file stored with holes is no range of bytes, so it does not pass for an image."""
    key, extension = split_name(info.name)
    if info.issparse():
        extension += ".sparse"
    return Member(key, extension, info.offset_data, nbytes, info.offset)


def _block_after_zeros(headers: "_Headers", mark: int) -> int | None:
    """Where the first block after an end mark begins that is not zeros, if there is one."""
    headers.seek(mark)
    offset = mark
    while chunk := headers.read(MAX_HEADER):
        rest = chunk.lstrip(b"\0")
        offset += len(chunk) - len(rest)
        if rest:
            return offset - (offset - mark) % BLOCK
    return None


def _is_header(headers: "_Headers", offset: int) -> bool:
    headers.seek(offset)
    try:
        key_in_header(headers.read(BLOCK))
    except ValueError:
        return False
    return True


class _Headers:
    """A file as tarfile may see it: reads are bounded, and the store's failures are told apart."""

    def __init__(self, file: IO[bytes], stop: int | None) -> None:
        self.file = file
        size = file.seek(0, os.SEEK_END)
        self.stop = size if stop is None else min(stop, size)
        self.failed = False
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int) -> bytes:
        try:
            left = self.stop - self.file.tell()
            return self.file.read(max(0, min(count, left, MAX_HEADER)))
        except RecursionError:  # names of names, down to here
            raise
        except Exception:
            self.failed = True
            raise
