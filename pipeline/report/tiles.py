"""Thumbnails: pool images read back from their sources, small, with what is known of them."""

import base64
import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline.decide.verdict import Reason
from pipeline.format.errors import HeadraceError
from pipeline.format.images import ImageError, decode
from pipeline.pool.source import FORMATS
from pipeline.report.curation import Pool, Row, rows_at
from pipeline.report.reasons import explain

SIDE = 128
"""Longest side of a thumbnail in pixels; the page shows it a little smaller."""

QUALITY = 80
READS_AT_ONCE = 8
TOOLTIP_CHARACTERS = 400

FIGURE = re.compile(" is | of 256 | in | as | from |,|:")
"""What comes before it in a row's detail is the figure that its verdict hangs on."""


@dataclass(frozen=True)
class Tile:
    """One pool image as the page shows it."""

    row: Row
    picture: str | None
    """A data URI, or None where the image cannot be shown."""
    trouble: str
    """Why not."""
    lost: bool
    """Whether it could be read once, when it was measured."""
    caption: str
    size: str
    """Format and pixels, in a few characters."""
    note: str
    """The figure that its verdict hangs on."""
    tooltip: str


def tiles(pool: Pool, numbers: Iterable[int]) -> dict[int, Tile]:
    """Reads and shrinks the images of these rows; nothing else of the pool is read."""
    rows, formats = rows_at(pool, numbers), pool.formats

    def shown(row: Row) -> Tile:
        return _tile(row, *_picture(row.facts, formats[row.source]))

    with ThreadPoolExecutor(READS_AT_ONCE) as threads:
        return dict(zip(rows, threads.map(shown, rows.values()), strict=True))


def _picture(facts: Mapping[str, Any], pool_format: str) -> tuple[str | None, str]:
    """A data URI and no trouble, or none and why. Reads no row that was unreadable before."""
    if facts["error"]:
        return None, explain(facts["error"])
    fetch = FORMATS[pool_format].fetch
    try:
        data = fetch(facts["source"], facts["key"], facts["offset"], facts["nbytes"])
        if hashlib.sha256(data).hexdigest() != facts["sha256"]:
            return None, "source changed: these are not the bytes that were measured"
        return thumbnail(data), ""
    except HeadraceError as error:
        return None, f"source is gone: {error}"
    except ImageError as error:
        return None, explain(str(error))


def thumbnail(data: bytes, side: int = SIDE) -> str:
    """Image bytes as a small JPEG in a data URI. Raises ImageError."""
    image = decode(data)
    image.thumbnail((side, side))
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=QUALITY, optimize=True)
    return data_uri(sink.getvalue(), "image/jpeg")


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as a URL that holds them."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _tile(row: Row, picture: str | None, trouble: str) -> Tile:
    facts = row.facts
    pixels = f"{facts['width']} x {facts['height']}" if facts["width"] else ""
    size = " ".join(filter(None, [facts["format"], pixels]))
    return Tile(
        row=row,
        picture=picture,
        trouble=visible(trouble),
        lost=picture is None and not facts["error"],
        caption=visible(facts["caption"] or ""),
        size=size,
        note=_note(row, pixels),
        tooltip=_tooltip(row, size, trouble),
    )


def _note(row: Row, pixels: str) -> str:
    if row.reason in (Reason.TOO_SMALL, Reason.EXTREME_ASPECT):
        return pixels
    if row.reason is None:
        score = row.facts.get("clip_score")
        return f"score {score:.2f}" if score is not None else ""
    if row.reason == Reason.UNREADABLE:
        return ""
    return visible(FIGURE.split(row.detail or "", maxsplit=1)[0])


def _tooltip(row: Row, size: str, trouble: str) -> str:
    facts = row.facts
    told = [
        facts["caption"] or "(no caption)",
        f"key {row.key}",
        f"in {row.source}",
        f"{size}, {facts['nbytes']:,} bytes" if size else f"{facts['nbytes']:,} bytes",
        f"{row.reason}: {row.detail}" if row.reason else f"kept as {row.shard_key}",
        "" if facts["error"] else trouble,
    ]
    return "\n".join(visible(line) for line in told if line)


def visible(text: str) -> str:
    """Text without control characters, on one line, of bounded length."""
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return shown if len(shown) <= TOOLTIP_CHARACTERS else shown[: TOOLTIP_CHARACTERS - 1] + "…"
