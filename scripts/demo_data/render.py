"""Pictures to files of a web-like mixture of formats, and files to perceptual hashes."""

import io
from dataclasses import dataclass

import numpy as np
import pdqhash
from PIL import Image, ImageOps

from demo_data import keyed

# format → how many of sixteen pictures have it
FORMATS = ["jpg"] * 11 + ["webp"] * 3 + ["png-palette", "png-alpha"]
SIDES = [256, 224, 192, 176, 160, 144, 128, 112]
LARGEST_FILE = 3_000


@dataclass(frozen=True)
class Encoded:
    data: bytes
    format: str
    width: int
    height: int

    @property
    def extension(self) -> str:
        return self.format.partition("-")[0]


def flat(image: Image.Image) -> Image.Image:
    """Lay a picture on white; without this, transparent clip art turns black."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def trim(image: Image.Image) -> Image.Image:
    """Cut off the empty page around a drawing; a blank picture stays as it is."""
    return image.crop(ImageOps.invert(flat(image)).getbbox())


def shrink(image: Image.Image, side: int) -> Image.Image:
    """Bring the longest side down to `side`; a smaller picture stays as it is."""
    scale = min(1.0, side / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def encode(image: Image.Image, form: str, quality: int) -> Encoded:
    """Write an RGB or RGBA picture; only png-alpha keeps transparency."""
    if form != "png-alpha":
        image = flat(image)
    buffer = io.BytesIO()
    if form == "jpg":
        image.save(buffer, "JPEG", quality=quality, optimize=True)
    elif form == "webp":
        image.save(buffer, "WEBP", quality=quality, method=4)
    elif form == "png-palette":
        image.quantize(64, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "PNG", optimize=True)
    return Encoded(buffer.getvalue(), form, *image.size)


def publish(image: Image.Image, name: str) -> Encoded:
    """Encode as a web site might, at the largest side by key that fits LARGEST_FILE."""
    form = keyed.pick(FORMATS, "format", name)
    if form == "png-alpha" and image.getextrema()[3][0] > 250:
        form = "png"
    quality = 75 + keyed.number("quality", name) % 14
    first = keyed.number("side", name) % len(SIDES)
    for side in SIDES[first:]:
        encoded = encode(shrink(image, side), form, quality)
        if len(encoded.data) <= LARGEST_FILE:
            break
    return encoded


def decode(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return flat(image)


def fingerprint(data: bytes) -> tuple[np.ndarray, int]:
    """PDQ of a file as a reader sees it on white: four uint64 words, and the hash's quality."""
    bits, quality = pdqhash.compute(np.asarray(decode(data)))
    return np.packbits(bits.astype(np.uint8)).view(np.uint64), int(quality)


def hamming(bits: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance from one hash (4,) to many (N, 4)."""
    return np.bitwise_count(bits ^ others).sum(axis=-1).astype(int)
