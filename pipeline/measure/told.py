"""What the source itself says of an image, by DataComp's names.

A stranger wrote it. A value that cannot be what its column holds is null; it still stands in
`meta`.
"""

import json
from typing import Any

from pipeline.pool.sample import clean_meta

MOST_BOXES = 1000
"""Boxes kept of one image, the first ones."""

MOST_URL = 8192
"""Characters of a URL; a longer one is null."""


def facts(meta: dict[str, Any]) -> dict[str, Any]:
    """The told columns of a source's record."""
    return {
        "url": _url(meta.get("url")),
        "original_width": _side(meta.get("original_width")),
        "original_height": _side(meta.get("original_height")),
        "clip_b32_similarity_score": _cosine(meta.get("clip_b32_similarity_score")),
        "clip_l14_similarity_score": _cosine(meta.get("clip_l14_similarity_score")),
        "face_bboxes": _boxes(meta.get("face_bboxes")),
    }


def _url(value: Any) -> str | None:
    """Without passwords and signatures."""
    if not isinstance(value, str) or not 0 < len(value) <= MOST_URL:
        return None
    clean: str = json.loads(clean_meta({"url": value}))["url"]
    return clean.encode("utf-8", "replace").decode()


def _number(value: Any) -> float | None:
    """An int or float that is finite as a float32; true and false are no numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 3e38 else None  # false for NaN, too


def _side(value: Any) -> int | None:
    """A positive whole number of pixels."""
    number = _number(value)
    if number is None or number != int(number) or not 0 < number < 2**31:
        return None
    return int(number)


def _cosine(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and -1 <= number <= 1 else None


def _boxes(value: Any) -> list[list[float]] | None:
    """Boxes [x0, y0, x1, y1] cut at the edges of the image, without those that are none."""
    if not isinstance(value, list):
        return None
    boxes = [_box(one) for one in value[:MOST_BOXES]]
    return [box for box in boxes if box is not None]


def _box(value: Any) -> list[float] | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    inside = [min(max(n, 0.0), 1.0) for n in map(_number, value) if n is not None]
    if len(inside) < 4:
        return None
    (left, right), (top, bottom) = sorted(inside[0::2]), sorted(inside[1::2])
    return [left, top, right, bottom] if left < right and top < bottom else None
