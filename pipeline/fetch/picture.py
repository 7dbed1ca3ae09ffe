"""Downloaded bytes as a pool keeps them: untouched, or shrunk as CommonPool's are."""

import hashlib
import json
from dataclasses import dataclass

from PIL import Image
from PIL.ExifTags import TAGS, Base

from pipeline.format.images import FORMATS, open_image, to_rgb
from pipeline.write.alter import AlterConfig, ReencodeConfig, alter

MAX_EXIF = 20_000
"""Characters; a longer record is not carried."""


@dataclass(frozen=True)
class Picture:
    """An image that decodes. Sizes are pixels, the right way up."""

    data: bytes
    extension: str
    width: int
    height: int
    original_width: int
    original_height: int
    sha256: str
    """Of the bytes as they were downloaded."""
    exif: str | None
    """The main EXIF tags by name, as JSON."""


def prepare(data: bytes, resize: int | None, max_pixels: int) -> Picture:
    """Decodes once, to know that it can be done. Raises ImageError.

    With `resize`, an image whose longer side is longer becomes a JPEG of quality 95, averaged over
    areas, transparency on white; all others keep their bytes.
    """
    opened = open_image(data, max_pixels)
    exif = _exif(opened)
    if resize and max(opened.size) > resize:
        shrink = AlterConfig(max_side=resize, reencode=ReencodeConfig(format="jpeg", quality=95))
        altered = alter(data, None, shrink)
    else:
        altered = None
    if altered:
        kept, extension = altered.data, altered.extension
        size, original = (altered.width, altered.height), _upright(opened)
    else:
        kept, extension = data, FORMATS[opened.format or ""]
        size = original = to_rgb(opened).size
    return Picture(kept, extension, *size, *original, hashlib.sha256(data).hexdigest(), exif)


def _upright(image: Image.Image) -> tuple[int, int]:
    """The size of an image of which is known that it decodes, without decoding it again."""
    turned = image.getexif().get(Base.Orientation) in (5, 6, 7, 8)
    return (image.height, image.width) if turned else image.size


def _exif(image: Image.Image) -> str | None:
    try:
        tags = {TAGS.get(tag, str(tag)): str(value) for tag, value in image.getexif().items()}
    except Exception:  # a broken record is as good as none; the pixels are judged by themselves
        return None
    text = json.dumps(dict(sorted(tags.items())))
    return text if tags and len(text) <= MAX_EXIF else None
