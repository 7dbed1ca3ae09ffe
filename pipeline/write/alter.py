"""What may be done to an image on its way into a shard: faces blurred, shrunk, encoded anew.

An image that needs none of it passes through, byte for byte. One that is altered is decoded as
everywhere (pipeline/format/images.py) and written from its pixels alone: EXIF and colour profiles
are gone, with the orientation applied; transparency is flattened on white, an animation keeps its
first frame. A JPEG that shrinks is decoded at a part of its size, in under half the time. That
averages its pixels much as a resize does (they differ by 43 dB, the median of 100 photographs);
where the sides are not divisible, the far edges come out up to a pixel off.
"""

import io
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image, ImageDraw, ImageFilter
from pydantic import Field

from pipeline.format.images import FORMATS, open_image, to_rgb, upright_size
from pipeline.format.snapshot import canonical_json
from pipeline.settings import Settings

Boxes = Sequence[Sequence[float]] | None
"""[x_min, y_min, x_max, y_max] as shares of the sides of the upright image. A stranger's figures:
any may be absent, not a number, in the wrong order or outside."""

GROWTH, SIGMA = 0.1, 0.1
"""By how much of its longer side a box grows on every edge, and how much of the longest side of
all boxes the blur's sigma is: img2dataset's blurrer, with which DataComp was downloaded."""

BEST = {"JPEG": 95, "WEBP": 100, "PNG": 100}
"""Formats an altered image may stay in, and the quality it then gets; any other becomes a PNG."""

LONGEST = {"JPEG": 65_500, "WEBP": 16_383}
"""Pixels a side may have in these formats; a longer image becomes a PNG."""


class ReencodeConfig(Settings):
    """The encoding that every image of a shard gets."""

    format: Literal["jpeg", "webp", "png"]
    """Of the new file."""

    quality: int = Field(default=95, ge=1, le=100)
    """Of jpeg and webp; png loses nothing at any."""


class AlterConfig(Settings):
    """What is done to kept images; nothing unless it is configured."""

    blur_faces: str | None = Field(default=None, min_length=1)
    """Ledger column of face boxes: `face_bboxes`, which the source tells, or `NAME_boxes` of a
    face model. A row without boxes is not blurred; `rules.ranges` on `NAME_count` with `min: 0`
    drops the rows that no model looked at."""

    max_side: int | None = Field(default=None, gt=0)
    """Pixels the longer side may have; larger images shrink, none grows. DataComp: 512."""

    reencode: ReencodeConfig | None = None
    """One format for all. Without it, an altered image keeps its own if that can be written."""


@dataclass(frozen=True)
class Altered:
    """An image that is not as it was found."""

    data: bytes
    extension: str
    width: int
    height: int


def columns(config: AlterConfig) -> set[str]:
    """Ledger columns that are wanted beside the writer's own."""
    return {config.blur_faces} if config.blur_faces else set()


def finish(image: bytes, row: dict[str, Any], config: AlterConfig) -> tuple[bytes, str, str]:
    """What a shard gets of a ledger row and its image: the image, its extension, its json.

    The json is the source's own. Of an altered image, `width` and `height` in it say what it is
    now; `sha256` and `original_width` go on telling of the file as it was downloaded, as they do
    in img2dataset's shards.
    """
    boxes = row[config.blur_faces] if config.blur_faces else None
    altered = alter(image, boxes, config)
    if altered is None:
        return image, FORMATS[row["format"]], row["meta"]
    sides = {"width": altered.width, "height": altered.height}
    meta = canonical_json(json.loads(row["meta"]) | sides).decode()
    return altered.data, altered.extension, meta


def alter(data: bytes, boxes: Boxes, config: AlterConfig) -> Altered | None:
    """An image as the config wants it, or None where it already is: then the bytes stay.

    Pure: the same bytes for the same input and library versions. Raises ImageError if the bytes
    are no image; its size has no limit here, since the measuring that let it through had one.
    """
    if config == AlterConfig():
        return None  # not even opened
    opened = open_image(data, sys.maxsize)
    kind = opened.format or ""
    faces = usable(boxes) if config.blur_faces else []
    stored = _fitting(opened.size, config.max_side)
    if stored == opened.size and not faces and config.reencode is None:
        return None
    size = _fitting(upright_size(opened), config.max_side)
    if stored != opened.size:
        # A JPEG comes at a half, a quarter or an eighth where that is no smaller than wanted.
        opened.draft(None, stored)
    image = to_rgb(opened)
    if size != image.size:
        # Averages areas, as OpenCV's INTER_AREA does, without the steps of Pillow's own BOX.
        image = image.resize(size, Image.Resampling.HAMMING)
    if faces:
        image = blur(image, faces)
    return _encoded(image, kind, config.reencode)


def usable(boxes: Boxes) -> list[tuple[float, float, float, float]]:
    """The boxes that hold something of the image: corners in order, cut at its edges."""
    found = []
    for box in boxes or ():
        if box is None or len(box) != 4 or any(v is None or math.isnan(v) for v in box):
            continue
        inside = [min(max(v, 0.0), 1.0) for v in box]
        (left, right), (top, bottom) = sorted(inside[0::2]), sorted(inside[1::2])
        if left < right and top < bottom:
            found.append((left, top, right, bottom))
    return found


def blur(image: Image.Image, boxes: list[tuple[float, float, float, float]]) -> Image.Image:
    """An RGB image whose boxes are blurred, with soft edges.

    Image and mask of the grown boxes are blurred alike, and the blurred mask blends the two.
    Pillow's GaussianBlur is an approximation, three box blurs of the same variance: within 6% of
    the true bell, and it ends after about three sigmas, beyond which no pixel changes.
    """
    width, height = image.size
    mask, longest = Image.new("L", image.size), 0.0
    draw = ImageDraw.Draw(mask)
    for left, top, right, bottom in boxes:
        side = max((right - left) * width, (bottom - top) * height)
        edge, longest = GROWTH * side, max(longest, side)
        low = math.floor(left * width - edge), math.floor(top * height - edge)
        high = math.ceil(right * width + edge) - 1, math.ceil(bottom * height + edge) - 1
        draw.rectangle((low, high), fill=255)
    soft = ImageFilter.GaussianBlur(SIGMA * longest)
    return Image.composite(image.filter(soft), image, mask.filter(soft))


def _fitting(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """A size of the same ratio, to the pixel, whose longer side is at most so many pixels."""
    longest = max(size)
    if max_side is None or longest <= max_side:
        return size
    width, height = (max(round(side * max_side / longest), 1) for side in size)
    return width, height


def _encoded(image: Image.Image, kind: str, wanted: ReencodeConfig | None) -> Altered:
    kind = wanted.format.upper() if wanted else kind
    if kind not in BEST or max(image.size) > LONGEST.get(kind, sys.maxsize):
        kind = "PNG"
    sink = io.BytesIO()
    image.info = {}  # the profile and comment of another file would go along
    image.save(sink, kind, quality=wanted.quality if wanted else BEST[kind])
    return Altered(sink.getvalue(), FORMATS[kind], *image.size)
