"""What people do to a picture before they put it on the web again: twelve ways to plant a copy."""

import io
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

SIDE = 512
"""Pixels of the longer side of every picture before it is changed."""


def encode(image: Image.Image, image_format: str = "JPEG", **options: Any) -> bytes:
    """The bytes of a file; a JPEG of quality 92 unless told."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **({"quality": 92} | options))
    return buffer.getvalue()


def _half(image: Image.Image) -> bytes:
    return encode(image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC))


def _crop(image: Image.Image) -> bytes:
    """The middle 90% of both sides."""
    x, y = image.width * 0.05, image.height * 0.05
    return encode(image.crop((round(x), round(y), round(image.width - x), round(image.height - y))))


def _text_bar(image: Image.Image) -> bytes:
    """The lowest tenth is covered by a black bar with white text."""
    image, height = image.copy(), image.height // 10
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, image.height - height, image.width, image.height), "black")
    at = (image.width / 2, image.height - height / 2)
    draw.text(at, "when you see it", "white", ImageFont.load_default(0.6 * height), "mm")
    return encode(image)


def _watermark(image: Image.Image) -> bytes:
    """Half-transparent grey text across the middle, turned by 20°."""
    layer = Image.new("RGBA", image.size, (128, 128, 128, 0))
    at, font = (image.width / 2, image.height / 2), ImageFont.load_default(image.width / 10)
    ImageDraw.Draw(layer).text(at, "© example.com", (128, 128, 128, 128), font, "mm")
    layer = layer.rotate(20, Image.Resampling.BICUBIC)
    return encode(Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB"))


def _rotate(image: Image.Image) -> bytes:
    return encode(image.rotate(5, Image.Resampling.BICUBIC, fillcolor="white"))


TRANSFORMS: dict[str, Callable[[Image.Image], bytes]] = {
    "exact": encode,
    "jpeg q50": lambda image: encode(image, quality=50),
    "half size": _half,
    "brighter": lambda image: encode(ImageEnhance.Brightness(image).enhance(1.3)),
    "flipped": lambda image: encode(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "grey": lambda image: encode(image.convert("L")),
    "text bar": _text_bar,
    "blurred": lambda image: encode(image.filter(ImageFilter.GaussianBlur(2))),
    "converted": lambda image: encode(image, "WEBP", quality=80),
    "watermarked": _watermark,
    "90% crop": _crop,
    "rotated 5°": _rotate,
}

HARD = ("90% crop", "rotated 5°")
"""Reported, but outside the goal."""
