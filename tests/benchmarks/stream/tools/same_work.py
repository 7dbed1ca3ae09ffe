"""What every tool does alike: the crop, the batches' shape, and what is said to the runner.

Imported by the scripts beside it, each in its tool's own environment: nothing of headrace here.
"""

import argparse
import hashlib
import io
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE, WORKERS, PER_SHARD = 224, 2, 256
SCALE, ASPECT = (0.4, 1.0), (3 / 4, 4 / 3)
WARM = 2
"""Batches that are not timed."""

BUFFER = 5000
"""Samples in the shuffle buffer of tools that have one."""

Batches = Iterator[tuple[Any, Sequence[str]]]
"""uint8 (n, SIZE, SIZE, 3) in memory, whatever it is called; and the samples' keys."""


def crop(data: bytes) -> np.ndarray:
    """Decoded in full, a random crop of it, resized and flipped or not: (SIZE, SIZE, 3) uint8."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=random_box(*image.size))
    if random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(image)


def random_box(width: int, height: int) -> tuple[int, int, int, int]:
    """As torchvision's RandomResizedCrop; an image that no box fits in is taken whole."""
    for _ in range(10):
        area = width * height * random.uniform(*SCALE)
        aspect = math.exp(random.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            return left, top, left + w, top + h
    return 0, 0, width, height


def collate(samples: Sequence[tuple[np.ndarray, str]]) -> tuple[Any, list[str]]:
    """A batch of crops and keys, as a tensor: those travel between processes without a copy."""
    import torch

    pixels, keys = zip(*samples, strict=True)
    return torch.from_numpy(np.stack(pixels)), list(keys)


def tars(given: argparse.Namespace) -> list[str]:
    """Paths of the pool's tars, or their URLs."""
    found = sorted((given.pool / "tars").glob("*.tar"))
    return [f"{given.store}/tars/{path.name}" if given.store else str(path) for path in found]


def converted(given: argparse.Namespace) -> str | None:
    """URL of what was made of the pool, if it is to be read from a store."""
    return f"{given.store}/{given.data.name}" if given.store else None


def samples(pool: Path) -> list[tuple[str, str]]:
    """Path and key of every image, for tools that convert."""
    return [(str(path), path.stem) for path in sorted((pool / "images").iterdir())]


def arguments() -> argparse.Namespace:
    """What the runner passes to each script."""
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--pool", type=Path, required=True, help="made by throughput/pool.py")
    add("--data", type=Path, required=True, help="a folder of this tool's own")
    add("--store", help="read from this URL, and keep copies in --data: see stream/s3.py")
    add("--convert", action="store_true", help="make of the pool what the tool reads, in --data")
    add("--batch", type=int, default=256, help="images in a batch over all ranks")
    add("--batches", type=int, required=True, help="how many to read, if there are so many")
    add("--variant", default="", help="what is special about this row")
    add("--state", type=Path, help="where to go on: a file that --save wrote")
    add("--save", type=Path, help="where to write the state after the last batch")
    add("--keys", type=Path, help="where to write the keys of each batch")
    add("--crops", action="store_true", help="write a digest of each crop beside its key")
    given = parser.parse_args()
    given.rank = int(os.environ.get("RANK", "0"))
    given.world = int(os.environ.get("WORLD_SIZE", "1"))
    return given


def run(
    batches: Callable[[argparse.Namespace], tuple[Batches, Callable[[], Any] | None]],
    convert: Callable[[argparse.Namespace], None] | None = None,
) -> None:
    """Converts, or reads some batches. `batches` gives them, and a function that gives the state
    (or None, of a tool that has none), which JSON can hold."""
    given = arguments()
    if given.convert:
        given.data.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        if convert:
            convert(given)
        say(seconds=time.monotonic() - begin)
        return
    made, state = batches(given)
    keys, times = [], []
    for pixels, names in islice(made, given.batches):
        times.append((time.monotonic(), time.time()))
        check(pixels, len(names))
        keys.append(with_crops(names, pixels) if given.crops else list(names))
    if given.save:
        if not state:
            raise SystemExit("no state to go on from")
        given.save.write_text(json.dumps(state()))
    if given.keys:
        given.keys.write_text(json.dumps(keys))
    warm = min(WARM, len(times) - 1)
    say(
        images=sum(map(len, keys[warm:])),
        seconds=times[-1][0] - times[warm - 1][0],
        first_at=times[0][1],
    )


def with_crops(names: Sequence[str], pixels: Any) -> list[str]:
    rows = zip(names, np.asarray(pixels), strict=True)
    return [f"{name} {hashlib.sha256(crop.tobytes()).hexdigest()[:16]}" for name, crop in rows]


def from_loader(
    loader: Callable[..., Any], dataset: Any, given: argparse.Namespace
) -> tuple[Batches, Callable[[], Any]]:
    """Batches of a dataset of crops by its tool's own DataLoader, and what gives its state."""
    made = loader(
        dataset,
        batch_size=given.batch // given.world,
        num_workers=WORKERS,
        collate_fn=collate,
        drop_last=True,
    )
    if given.state:
        made.load_state_dict(load(given))
    return iter(made), made.state_dict


def load(given: argparse.Namespace) -> Any:
    """What --save wrote."""
    return json.loads(given.state.read_text())


def check(pixels: Any, count: int) -> None:
    assert tuple(pixels.shape) == (count, SIZE, SIZE, 3), pixels.shape
    assert "uint8" in str(pixels.dtype).lower(), pixels.dtype


def say(**told: Any) -> None:
    import PIL

    # Some tools put a log of their own in the place of sys.stdout.
    print(json.dumps(told | {"pillow": PIL.__version__}), file=sys.__stdout__, flush=True)
    sys.__stdout__.flush()
    os._exit(0)  # the threads and workers that a tool leaves are not waited for
