"""`metadata.jsonl` as Hugging Face's ImageFolder has it: a record a line, `file_name` in each."""

import json
import posixpath
from collections.abc import Iterable, Iterator
from typing import IO, Any

from pipeline.format import address, store
from pipeline.pool.sample import MAX_TEXT_BYTES

NAME = "metadata.jsonl"

_PIECE = 1 << 20


def is_metadata(name: str) -> bool:
    """Whether a file of this name holds records, in whatever folder it lies."""
    return posixpath.basename(name) == NAME


def records(root: str, names: Iterable[str], images: set[str]) -> dict[str, dict[str, Any]]:
    """What these metadata files tell of these images, all named by their paths from the root.

    A record tells of images in its own folder or below. The nearest file wins, in it the last
    line; a line that is no record tells of nothing.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(names, key=lambda name: (name.count("/"), name)):
        folder = posixpath.dirname(name)
        with store.open_read(address.join(root, name)) as file:
            for line in _lines(file):
                image, record = _record(folder, line)
                if image in images:
                    found[image] = record
    return found


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file; what of one is beyond the limit is cut off, never kept."""
    rest = b""
    while piece := file.read(_PIECE):
        first, *others = piece.split(b"\n")
        rest += first[: MAX_TEXT_BYTES - len(rest)]
        for line in others:
            yield rest
            rest = line[:MAX_TEXT_BYTES]
    yield rest


def _record(folder: str, line: bytes) -> tuple[str, dict[str, Any]]:
    """The image that a line tells of, by its path from the root, and what it tells."""
    try:
        record = json.loads(line.decode(errors="replace"))
        name = record.pop("file_name")
        image = posixpath.normpath(posixpath.join(folder, name))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "", {}
    inside = not folder or image.startswith(folder + "/")
    return (image, record) if inside else ("", {})
