"""What every tool does to an image where it has no operator of its own, with Pillow alone.

Imported by the scripts beside it, each in its tool's own environment: nothing of headrace here.
"""

import argparse
import io
import json
import multiprocessing
import shutil
import sys
import time
from collections.abc import Callable
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
from PIL import Image

MIN_SIDE = 200
"""Images with a shorter side are dropped."""

MAX_SIDE, QUALITY = 256, 95
"""Of the row that encodes anew: longer side in pixels, JPEG quality."""

WORKERS, PER_SHARD = 2, 256

WARM_SHARD = 8
"""Images in a shard of the warm-up, so few that every worker writes one."""


def decode(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def perceptual_hash(image: Image.Image) -> str:
    """256-bit PDQ as 64 hex digits, of the luma at 64 pixels: its cheapest form, as headrace's."""
    import pdqhash

    small = image.convert("L").resize((64, 64), Image.Resampling.BOX)
    bits, _ = pdqhash.compute(np.asarray(small.convert("RGB")))
    return np.packbits(np.asarray(bits, np.uint8)).tobytes().hex()


def encode(image: Image.Image) -> bytes:
    """A JPEG whose longer side is at most MAX_SIDE."""
    scale = MAX_SIDE / max(image.size)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.HAMMING)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def measure(data: bytes, anew: bool) -> tuple[int, str, bytes]:
    """Shorter side, hash, and the bytes to write: as they are, or encoded anew if it is kept."""
    image = decode(data)
    side = min(image.size)
    return side, perceptual_hash(image), encode(image) if anew and side >= MIN_SIDE else data


def arguments() -> argparse.Namespace:
    """What the runner passes to each script."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pool", type=Path, required=True, help="made by throughput/pool.py")
    parser.add_argument("--out", type=Path, required=True, help="a folder, emptied first")
    parser.add_argument("--anew", action="store_true", help="encode at 256 pixels, quality 95")
    return parser.parse_args()


def timed(job: Callable[[Path, Path, bool], None]) -> None:
    """Runs a job on the warm-up pool, then on the pool; says the seconds of the second."""
    given = arguments()
    shutil.rmtree(given.out, ignore_errors=True)
    for pool, out in [(given.pool / "warm", given.out / "warm"), (given.pool, given.out / "main")]:
        out.mkdir(parents=True)
        begin = time.monotonic()
        job(pool, out, given.anew)
        seconds = time.monotonic() - begin
    say(seconds)


def say(seconds: float) -> None:
    import PIL

    # Some tools put a log of their own in the place of sys.stdout.
    print(
        json.dumps({"seconds": seconds, "pillow": PIL.__version__}), file=sys.__stdout__, flush=True
    )


def tars(pool: Path) -> list[str]:
    return sorted(str(path) for path in (pool / "tars").glob("*.tar"))


def processes() -> Pool:
    """WORKERS processes. None takes work before all have started, so a warm-up reaches each."""
    context = multiprocessing.get_context("spawn")
    return context.Pool(WORKERS, initializer=context.Barrier(WORKERS).wait)


def in_processes(function: Callable, items: list) -> list:
    """`function` over `items` in WORKERS processes, for a tool that leaves that to its user."""
    with processes() as pool:
        return pool.map(function, items, chunksize=1)
