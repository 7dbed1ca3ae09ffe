"""Single broken or altered pictures, as the web has them. Each maker may refuse a picture."""

import struct
import zlib

import numpy as np

from demo_data import keyed, render
from demo_data.catalogue import Picture
from demo_data.render import Encoded

BOMB_SIDE = 14_000  # 196 million pixels: above Pillow's limit of 179 million
JUNK_CAPTIONS = [
    "IMG_2043.JPG", "DSC00172.jpg", "untitled", "click here", "buy now cheap", "image",
    "Page 1 of 12 - next", "http://www.example.org/index.php?id=88", "thumbnail", "logo.gif",
    "photo 3", "Free shipping on all orders!!!", "null", "pic", "Sign in to see more", "1024x768",
]  # fmt: skip
HTML = (
    "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head>\n"
    "<body><h1>Not Found</h1><p>{name} is no longer here.</p></body></html>\n"
)


def recompressed(picture: Picture) -> Encoded | None:
    """The same JPEG saved once more at quality 40-60."""
    if picture.image.format != "jpg":
        return None
    quality = 40 + keyed.number("recompress", picture.path) % 21
    return render.encode(render.decode(picture.image.data), "jpg", quality)


def resized(picture: Picture) -> Encoded | None:
    """The same format at half to six tenths of the size."""
    image = render.decode(picture.image.data)
    side = round(max(image.size) * (0.5 + 0.1 * keyed.fraction("resize", picture.path)))
    if side < 56 or picture.image.format == "png-alpha":
        return None
    return render.encode(render.shrink(image, side), picture.image.format, 82)


def reencoded(picture: Picture) -> Encoded | None:
    """The same pixels, nearly, in another file format."""
    if picture.image.format == "png-alpha":
        return None
    others = [f for f in ("jpg", "webp", "png-palette") if f != picture.image.format]
    encoded = render.encode(
        render.decode(picture.image.data), keyed.pick(others, "reencode", picture.path), 85
    )
    return encoded if len(encoded.data) <= 2 * render.LARGEST_FILE else None


def leaked(picture: Picture) -> Encoded | None:
    """A validation picture found on the web: as it is, recompressed or resized."""
    maker = keyed.pick([lambda p: p.image, recompressed, resized], "leak", picture.path)
    return maker(picture)


def tiny(picture: Picture) -> Encoded | None:
    """A thumbnail of 12 to 23 pixels."""
    side = 12 + keyed.number("tiny", picture.path) % 12
    form = keyed.pick(["jpg", "png"], "tiny-format", picture.path)
    return render.encode(render.shrink(render.decode(picture.image.data), side), form, 85)


def extreme_aspect(picture: Picture) -> Encoded | None:
    """A strip through the middle, 4.5 to 8 times as long as wide."""
    image = render.decode(picture.image.data)
    width, height = image.size
    thin = max(image.size) / (4.5 + 3.5 * keyed.fraction("aspect", picture.path))
    if width >= height:
        box = (0, round((height - thin) / 2), width, round((height + thin) / 2))
    else:
        box = (round((width - thin) / 2), 0, round((width + thin) / 2), height)
    strip = image.crop(box)
    dull = np.asarray(strip.convert("L")).std() < 20
    return None if dull else render.encode(strip, "jpg", 85)


def truncated(picture: Picture) -> Encoded | None:
    """A download that stopped at 30 to 60 percent; refused if it still decodes."""
    image = picture.image
    end = round(len(image.data) * (0.3 + 0.3 * keyed.fraction("truncate", picture.path)))
    part = image.data[:end]
    try:
        render.decode(part)
    except (OSError, SyntaxError, ValueError):
        return Encoded(part, image.format, image.width, image.height)
    return None


def html(name: str) -> bytes:
    return HTML.format(name=name).encode()


def chunk(tag: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))


def bomb() -> Encoded:
    """A valid black 1-bit PNG of a few kilobytes that unpacks to 196 million pixels."""
    row = b"\0" + bytes((BOMB_SIDE + 7) // 8)
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(row) for _ in range(BOMB_SIDE)) + packer.flush()
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 1, 0, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
    return Encoded(data, "png", BOMB_SIDE, BOMB_SIDE)
