"""Is the image library that `import PIL` finds fit to be used? Silent if so, else exit code 1.

    python scripts/check_pillow.py [VERSION]

A Pillow built from source leaves out, without a word, each codec whose header was missing, and
one built for another processor crashes or computes nonsense. So: the version is the one asked
for, each codec is compiled in and returns what it was given, and a resize agrees with a plain
numpy convolution. Needs numpy and nothing of headrace, so that a build can be checked before it
is installed (with PYTHONPATH set to it).
"""

import io
import sys

import numpy as np
import PIL
from PIL import Image, ImageCms, features

FEATURES = ("jpg", "zlib", "webp", "libtiff", "jpg_2000", "littlecms2")
# format, how to save, the largest error a pixel may come back with
ROUND_TRIPS = (
    ("JPEG", {"quality": 95, "subsampling": 0}, 12),
    ("PNG", {}, 0),
    ("WEBP", {"lossless": True}, 0),
    ("TIFF", {"compression": "tiff_lzw"}, 0),
    ("JPEG2000", {"irreversible": False}, 0),
)


def picture(width: int = 97, height: int = 61) -> Image.Image:
    """Smooth colours with one hard edge, of odd sizes."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x + y) * 2 % 256], axis=-1)
    pixels[..., 2] = np.where(x > 40, 200, 30)
    return Image.fromarray(pixels.astype(np.uint8))


def weights(size: int, out: int) -> np.ndarray:
    """The triangle filter of Pillow's BILINEAR, as a matrix [out, size]."""
    scale = max(size / out, 1.0)
    centres = (np.arange(out)[:, None] + 0.5) * size / out
    w = np.maximum(0, 1 - np.abs((np.arange(size) + 0.5 - centres) / scale))
    return w / w.sum(axis=1, keepdims=True)


def resize_error(image: Image.Image, width: int, height: int) -> float:
    got = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float64)
    pixels = np.asarray(image, np.float64)
    want = np.einsum(
        "ah,hwc,bw->abc", weights(image.height, height), pixels, weights(image.width, width)
    )
    return float(np.abs(got - want).max())


def codec_error(image: Image.Image, format: str, options: dict) -> float:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    back = np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"), np.int16)
    return float(np.abs(back - np.asarray(image, np.int16)).max())


def faults(version: str | None) -> list[str]:
    found = []
    if version and PIL.__version__ != version:
        found.append(f"version is {PIL.__version__}, wanted {version}")
    missing = [name for name in FEATURES if not features.check(name)]
    if missing:
        return [*found, "built without " + ", ".join(missing)]
    image = picture()
    for format, options, tolerance in ROUND_TRIPS:
        error = codec_error(image, format, options)
        if error > tolerance:
            found.append(f"{format} is off by {error:.0f}")
    for width, height in ((32, 32), (200, 150)):
        error = resize_error(image, width, height)
        if error > 2:
            found.append(f"resize to {width}x{height} is off by {error:.1f}")
    srgb = ImageCms.createProfile("sRGB")
    managed = ImageCms.profileToProfile(image, srgb, srgb)
    if managed is None or np.abs(np.asarray(managed, int) - np.asarray(image, int)).max() > 2:
        found.append("colour management changes sRGB to sRGB")
    return found


if __name__ == "__main__":
    trouble = faults(sys.argv[1] if len(sys.argv) > 1 else None)
    sys.exit("; ".join(trouble) or 0)
