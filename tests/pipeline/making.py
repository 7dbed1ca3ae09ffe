"""Small pictures, tars and ledger rows, made by key so that every run sees the same ones."""

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline import ledger
from pipeline.pool.sample import Part
from pipeline.pool.webdataset import parts


def picture(number: int, width: int = 96, height: int = 72) -> Image.Image:
    """A smooth random picture: like a photograph, it survives recompression and resizing."""
    coarse = np.random.default_rng(number).integers(0, 256, (8, 10, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def png(number: int, width: int = 96, height: int = 72) -> bytes:
    return encode(picture(number, width, height))


def member(name: str, data: bytes = b"", tar_format: int = tarfile.GNU_FORMAT, **fields) -> bytes:
    """One member: its header, with these fields as they are, and its data in whole blocks."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tar_format, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512)


def with_checksum(header: bytes) -> bytes:
    """A header that was tampered with, made valid again."""
    blank = header[:148] + b" " * 8 + header[156:512]
    return header[:148] + b"%06o\0 " % sum(blank) + header[156:]


END = bytes(1024)


def tar_of(members: dict[str, bytes]) -> bytes:
    return b"".join(member(name, data) for name, data in members.items()) + END


def tar_part(path: Path, data: bytes | dict[str, bytes]) -> Part:
    """Writes a tar; the one part that the pool sees in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else tar_of(data))
    return parts(str(path))[0]


def rows(*changes: dict[str, Any], **columns: pa.DataType) -> pa.Table:
    """Ledger rows as decide wants them; a row is a good 100 x 100 picture but for its changes.

    They have the whole image family, `generation` and `clip_score`; `columns` adds others by
    name, as a model's family does.
    """
    extra = {"generation": pa.int32(), "clip_score": pa.float32()} | columns
    schema = pa.schema([*ledger.IMAGE_SCHEMA, *map(pa.field, extra, extra.values())])
    unknown = {name for change in changes for name in change} - set(schema.names)
    assert not unknown, f"no such columns: {unknown}"
    return pa.Table.from_pylist([_row(n, change) for n, change in enumerate(changes)], schema)


def _row(number: int, changes: dict[str, Any]) -> dict[str, Any]:
    facts = {
        "source": "file:///pool/0.tar",
        "key": f"{number:04d}",
        "offset": 512 + number * 4096,
        "uid": f"{number:032x}",
        "nbytes": 1000,
        "error": None,
        "sha256": f"{number:064x}",
        "format": "PNG",
        "mode": "RGB",
        "frames": 1,
        "orientation": 1,
        "width": 100,
        "height": 100,
        "caption": "five words that say little",
        "caption_words": 5,
        "caption_characters": 26,
        "language": "en",
        "language_score": 0.9,
        "generation": 0,
        "clip_score": 0.5,
    }
    return facts | changes


def phashes(upright: bytes, *turned: bytes) -> bytes:
    """The ledger's eight hashes of a picture: as it is, then turned and flipped.

    Those that are not given are random bits of their own, near nothing: a picture without
    symmetry. `phashes(*[code] * 8)` is one that looks the same from all sides.
    """
    made = [hashlib.sha256(upright + bytes([turn])).digest() for turn in range(1, 8)]
    return b"".join([upright, *turned, *made[len(turned) :]])
