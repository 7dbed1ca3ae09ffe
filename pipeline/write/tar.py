"""A plain WebDataset tar, and the index of what was put where."""

import hashlib
import tarfile
from typing import IO, Any

import pyarrow as pa

from pipeline.format.snapshot import INDEX_SCHEMA
from pipeline.format.tars import BLOCK


class Tar:
    """A tar to add samples to; knows its own index, size and digest.

    The bytes are those of webdataset's TarWriter (members by name, mode 0444, nobody's, of 1970),
    which to import takes torch along, a second and more in every worker.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.nbytes = 0
        self.digest = hashlib.sha256()
        self.rows: list[dict[str, Any]] = []

    def add(self, key: str, members: dict[str, bytes]) -> None:
        """One sample: an image, `json` and `txt`, by extension."""
        row: dict[str, Any] = {"position": len(self.rows), "key": key, "start": self.nbytes}
        offset = 0
        for extension, data in sorted(members.items()):
            self._write(_header(f"{key}.{extension}", len(data)))
            offset = self.nbytes
            self._write(data)
            self._write(bytes(-len(data) % BLOCK))
            kind = {"json": "json", "txt": "text"}.get(extension, "image")
            row |= {f"{kind}_offset": offset, f"{kind}_nbytes": len(data)}
            if kind == "image":
                row["image_extension"] = extension
        row["stop"] = offset + len(data)
        self.rows.append(row)

    def close(self) -> pa.Table:
        """Writes the end mark; returns the index."""
        self._write(bytes(2 * BLOCK))
        self._write(bytes(-self.nbytes % tarfile.RECORDSIZE))
        return pa.Table.from_pylist(self.rows, schema=INDEX_SCHEMA)

    def _write(self, data: bytes) -> None:
        self.digest.update(data)
        self.nbytes += len(data)
        self.file.write(data)


def _tarfile_header(name: str, nbytes: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = nbytes, 0o444
    return info.tobuf(tarfile.PAX_FORMAT)


_BLANK = _tarfile_header("", 0)
_LONGEST_NAME, _SIZE, _SUM = 100, slice(124, 135), slice(148, 154)
"""Where a header holds what differs (POSIX.1-1988, ustar), without the zero behind a number."""

_REST = int(_BLANK[_SUM], 8) - sum(_BLANK[_SIZE])
"""What all other bytes give to the sum, which counts its own place as blanks."""


def _header(name: str, nbytes: int) -> bytes:
    """The bytes of tarfile's header, which takes 17 times as long to make, three for a sample."""
    if len(name) > _LONGEST_NAME or not name.isascii() or nbytes >= 8**11:
        return _tarfile_header(name, nbytes)  # longer than one block
    start, size = name.encode(), b"%011o" % nbytes
    total = b"%06o" % (_REST + sum(start) + sum(size))
    between = _BLANK[len(start) : _SIZE.start], _BLANK[_SIZE.stop : _SUM.start]
    return b"".join([start, between[0], size, between[1], total, _BLANK[_SUM.stop :]])
