"""How many frames an image file has, told by its structure: no frame is decoded.

Pillow's own count visits each frame of a GIF or TIFF, and decodes some. A file made to last would
keep it busy for minutes.
"""

import struct
from collections.abc import Iterator
from itertools import islice

from PIL import Image

MOST = 10_000
"""Counting stops here: a file with more frames is told to have so many."""

_MOST_BLOCKS = 1_000_000
"""Nor are more blocks of a GIF passed over, each of up to 255 bytes: about 0.1 s."""


def count(image: Image.Image, data: bytes) -> int:
    """Frames of an opened image, or pages of a TIFF, at least 1 and at most `MOST`.

    What a broken file promises and does not hold is not counted. Pictures behind a phone's JPEG
    are no frames of it.
    """
    if image.format == "GIF":
        found = sum(1 for _ in islice(_gif_frames(data), MOST))
    elif image.format == "TIFF":
        found = sum(1 for _ in islice(_tiff_pages(data), MOST))
    elif image.format in ("PNG", "WEBP"):
        found = min(getattr(image, "n_frames", 1), MOST)  # they stand in the file's head
    else:
        found = 1
    return max(found, 1)


def _gif_frames(data: bytes) -> Iterator[int]:
    """Where the image descriptors of a GIF89a lie (its specification, section 20)."""
    at = 13 + _table_bytes(data[10])
    blocks = 0
    while at + 10 < len(data) and blocks < _MOST_BLOCKS:
        kind = data[at]
        if kind == 0x2C:
            yield at
            at += 11 + _table_bytes(data[at + 9])
        elif kind == 0x21:
            at += 2
        else:  # the trailer, or nothing that belongs here
            return
        while at < len(data) and data[at] and blocks < _MOST_BLOCKS:
            at += data[at] + 1
            blocks += 1
        at, blocks = at + 1, blocks + 1


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _tiff_pages(data: bytes) -> Iterator[int]:
    """Where the image file directories of a TIFF or BigTIFF lie, each told by the one before."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    pointer, entries, entry, at = ("Q", "Q", 20, 8) if big else ("I", "H", 12, 4)
    seen = {0}
    try:
        while (page := struct.unpack_from(order + pointer, data, at)[0]) not in seen:
            (held,) = struct.unpack_from(order + entries, data, page)
            yield page
            seen.add(page)
            at = page + struct.calcsize(order + entries) + held * entry
    except struct.error:  # it leads out of the file
        return
