"""The one conversion from bytes to pixels, for measuring and for training alike.

- Of an animation, or of a file of many pages, the first frame.
- Turned the right way up, as EXIF says. EXIF that is broken says nothing; the image stays.
- Palette, grey and CMYK become RGB. A colour profile is not applied, as nowhere in this field.
- 16 bits are scaled to 8 by dropping the lower ones; floating point counts from 0 (black) to 1
  (white). Integers of 32 bits are read as if they had 16, and what is above is white.
- Alpha, also that of a palette or of one colour, is flattened on white, as img2dataset does.

Pixels are counted before they are decoded, so a decompression bomb costs nothing.
"""

import io
import re
import warnings

from PIL import ExifTags, Image, UnidentifiedImageError

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

OUT_OF_MEMORY = "decoder_out_of_memory: it asked for more memory than one image may take"
"""The reason of an image that none was left for; true of the image only if it was alone."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = (5, 6, 7, 8)
"""Orientations whose sides change places."""

_ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-f]+>|0x[0-9a-f]{6,}")


class ImageError(Exception):
    """Why bytes are not a usable image, as `<kind>: <words>`, the same on every run."""


def open_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The undecoded image, its stored size and format known. Raises ImageError."""
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


def orientation(image: Image.Image) -> int:
    """What EXIF says of an opened image, 1 to 8; 1 if it says nothing that can be understood.

    To be asked before the image is converted, which turns it. Decodes a PNG, whose EXIF may
    stand behind its pixels; raises ImageError if that fails.
    """
    if image.format == "PNG":
        _load(image)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            told = image.getexif().get(ExifTags.Base.Orientation)
        except Exception:  # it is read by hand-written code on a stranger's bytes
            return 1
    return told if isinstance(told, int) and told in _UPRIGHT else 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Decodes an opened image into 8-bit RGB, the right way up. Raises ImageError."""
    # Pillow turns a TIFF itself, while it decodes.
    turn = None if image.format == "TIFF" else _UPRIGHT.get(orientation(image))
    _load(image)
    try:
        image = _rgb(image)
        return image if turn is None else image.transpose(turn)
    except Exception as error:
        raise ImageError(_decode_failed(error)) from error


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height that an opened image will have the right way up. Raises ImageError."""
    width, height = image.size
    turned = image.format != "TIFF" and orientation(image) in _TURNED  # a TIFF tells it itself
    return (height, width) if turned else (width, height)


def to_luma(image: Image.Image, least: tuple[int, int]) -> Image.Image:
    """Decodes an opened image into its 8-bit luma, the right way up. Raises ImageError.

    A JPEG stores the luma by itself: its colours are read, but never computed. It comes at a half,
    a quarter or an eighth of its stored size where no side falls below `least` (pixels, as
    stored), which costs less still. It differs from the averaged luma of the RGB image by
    rounding. All other images come at full size.
    """
    if image.format != "JPEG" or image.mode not in ("RGB", "L"):
        return to_rgb(image).convert("L")
    image.draft("L", least)
    turn = _UPRIGHT.get(orientation(image))
    _load(image)
    luma = image if image.mode == "L" else image.convert("L")
    return luma if turn is None else luma.transpose(turn)


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Bytes to an 8-bit RGB image. Raises ImageError."""
    return to_rgb(open_image(data, max_pixels))


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except Exception as error:  # as above: whatever a decoder raises is a fact about the bytes
        raise ImageError(_decode_failed(error)) from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F":
        image = image.point(lambda value: value * 255).convert("L")
    elif image.mode.startswith("I"):
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer.getchannel("A"))
    return image.convert("RGB")


def _decode_failed(error: Exception) -> str:
    if isinstance(error, MemoryError) or "out of memory" in str(error):  # Pillow says either
        return OUT_OF_MEMORY
    words = _ADDRESS.sub("…", " ".join(str(error).split()))[:200]
    return f"decode_failed: {words or type(error).__name__}"


def _keep_memory() -> None:
    """Faulting an image's memory in anew takes as long as decoding it, so what is freed is kept.

    Pillow keeps four blocks, of 16 MB at most. The C library (glibc) keeps twice as much as the
    largest block it saw freed, so it is shown one; that it is never touched makes it cheap.
    """
    Image.core.set_blocks_max(4)  # type: ignore[attr-defined]
    bytes(30_000_000)


_keep_memory()
