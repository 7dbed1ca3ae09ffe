"""The one conversion from bytes to pixels, for measuring and for training alike.

First frame; EXIF orientation applied; 16-bit scaled to 8; palette, grey and CMYK to RGB; alpha
flattened on white, as img2dataset does. Pixels are counted before they are decoded, so a
decompression bomb costs nothing.
"""

import io
import re
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tif",
    "PPM": "ppm",
    "JPEG2000": "jp2",
}
"""Decoders that hostile bytes may reach, and the extension each format has in a shard."""

MAX_PIXELS = 64_000_000
"""Larger images are refused: 64 million pixels are 192 MB of RGB."""

_ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-f]+>|0x[0-9a-f]{6,}")


class ImageError(Exception):
    """Why bytes are not a usable image, as `<kind>: <words>`, the same on every run."""


def open_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The undecoded image, its size and format known. Raises ImageError."""
    if not data:
        raise ImageError("empty: no bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bombs are judged below, by our own limit
        try:
            image = Image.open(io.BytesIO(data), formats=list(FORMATS))
        except UnidentifiedImageError as error:
            raise ImageError(f"not_an_image: begins with {data[:16]!r}") from error
        except Image.DecompressionBombError as error:
            raise ImageError(f"too_many_pixels: {error}") from error
        except Exception as error:  # decoders raise anything, from SyntaxError to TypeError
            raise ImageError(_decode_failed(error)) from error
    if image.format == "MPO":
        image.format = "JPEG"  # with further pictures behind it, as phones write them
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(f"too_many_pixels: {width} x {height} is over {max_pixels}")
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Decodes an opened image into 8-bit RGB. Raises ImageError."""
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I") or image.mode == "F":
            image = image.convert("I").point(lambda value: value / 256).convert("L")
        if image.has_transparency_data:
            layer = image.convert("RGBA")
            image = Image.new("RGB", layer.size, "white")
            image.paste(layer, mask=layer.getchannel("A"))
        return image.convert("RGB")
    except Exception as error:  # as above: whatever a decoder raises is a fact about the bytes
        raise ImageError(_decode_failed(error)) from error


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Bytes to an 8-bit RGB image. Raises ImageError."""
    return to_rgb(open_image(data, max_pixels))


def _decode_failed(error: Exception) -> str:
    words = _ADDRESS.sub("…", " ".join(str(error).split()))[:200]
    return f"decode_failed: {words or type(error).__name__}"
