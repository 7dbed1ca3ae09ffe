"""A pool of photograph-like JPEGs as CommonPool tars, and the same images as loose files.

    python -m tests.benchmarks.throughput.pool --out POOL            (needs apt-get and pip)
    python -m tests.benchmarks.throughput.pool --out POOL --images 8192
    python -m tests.benchmarks.throughput.pool --out POOL --side 1024

    POOL/tars/00000000.tar …     key.jpg, key.txt, key.json, 256 samples a tar
    POOL/images/<key>.jpg        the same bytes, for tools that read files
    POOL/list.parquet            url (file://…), caption, key, for img2dataset
    POOL/list.jsonl              the same for Data-Juicer
    POOL/pool.json               how many, how large, made by which library
    POOL/warm/                   64 images in eight tars, to warm up with: one tar alone would warm
                                 one worker

Each picture is a crop of one of scikit-image's photographs, flipped, brightened and grained by its
number alone, half of them with a drawing from openclipart laid over. One in twenty is under 200
pixels, so that the filter has something to drop.
"""

import argparse
import io
import json
import subprocess
import tarfile
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SEED = "headrace-throughput-1"
PHOTOS = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png")
PHOTOS += ("retina.jpg", "ihc.png", "hubble_deep_field.jpg", "brick.png", "grass.png", "gravel.png")
SHAPES = ((1, 1),) * 12 + ((1.25, 0.95),) * 3 + ((0.95, 1.25),) * 3 + ((1.5, 1),) + ((0.35, 0.25),)
"""Width and height of twenty pictures in a row, as shares of `side`."""

IMAGES, PER_TAR, WARM = 2048, 256, 64
CLIPART, SKIMAGE = "openclipart-png", "scikit-image==0.25.2"


def fetch(cache: Path) -> None:
    """Unpacks the two packages below `cache`, unless they are there."""
    if (cache / "unpacked").exists():
        return
    cache.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", CLIPART], cwd=cache, check=True)
    pip = ["python3", "-m", "pip", "download", "-q", "--no-deps", "-d", ".", SKIMAGE]
    subprocess.run(pip, cwd=cache, check=True)
    subprocess.run(["dpkg", "-x", next(cache.glob(f"{CLIPART}*.deb")), cache], check=True)
    wheel = next(cache.glob("scikit_image*.whl"))
    subprocess.run(["python3", "-m", "zipfile", "-e", wheel, cache], check=True)
    (cache / "unpacked").touch()


@lru_cache
def photos(cache: Path) -> list[Image.Image]:
    """Photographs, at least 1,024 pixels on their shorter side."""
    opened = [Image.open(cache / "skimage" / "data" / name).convert("RGB") for name in PHOTOS]
    grown = [max(1.0, 1024 / min(image.size)) for image in opened]
    return [
        image.resize((round(image.width * scale), round(image.height * scale)), Image.LANCZOS)
        for image, scale in zip(opened, grown, strict=True)
    ]


@lru_cache
def drawings(cache: Path) -> list[Path]:
    """Openclipart's files of a harmless size, in the order of their names."""
    root = cache / "usr" / "share" / "openclipart" / "png"
    return sorted(p for p in root.rglob("*.png") if 5_000 < p.stat().st_size < 60_000)


def picture(cache: Path, side: int, number: int) -> tuple[bytes, str]:
    """The JPEG and the caption of one pool image."""
    random = np.random.default_rng(list(sha256(f"{SEED}|{side}|{number}".encode()).digest()))
    share = SHAPES[number % len(SHAPES)]
    size = round(side * share[0]), round(side * share[1])
    image = _crop(photos(cache)[random.integers(len(PHOTOS))], size, random)
    caption = f"picture {number}, a part of a photograph"
    if random.random() < 0.5:
        path = drawings(cache)[random.integers(len(drawings(cache)))]
        _lay_over(image, path, random)
        caption += f" with {path.stem.replace('_', ' ')}"
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(random.integers(85, 91)))
    return file.getvalue(), caption


def _crop(photo: Image.Image, size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """A part of the photograph, flipped or not, with its own brightness, colours and grain."""
    zoom = random.uniform(0.4, 1.0) * min(photo.width / size[0], photo.height / size[1])
    width, height = size[0] * zoom, size[1] * zoom
    left = random.uniform(0, photo.width - width)
    top = random.uniform(0, photo.height - height)
    part = photo.resize(size, Image.BICUBIC, box=(left, top, left + width, top + height))
    pixels = np.asarray(part, np.float32)[:, :: random.choice([-1, 1])]
    pixels = pixels * random.uniform(0.8, 1.2, 3) + random.normal(0, 4, (*pixels.shape[:2], 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _lay_over(image: Image.Image, path: Path, random: np.random.Generator) -> None:
    drawing = Image.open(path).convert("RGBA")
    drawing.thumbnail((image.width * 2 // 3, image.height * 2 // 3))
    room = image.width - drawing.width, image.height - drawing.height
    image.paste(drawing, (random.integers(room[0] + 1), random.integers(room[1] + 1)), drawing)


def write(
    out: Path, cache: Path, side: int, count: int, first: int = 0, per_tar: int = PER_TAR
) -> None:
    """A pool of `count` pictures, numbers `first` and up."""
    for name in ("tars", "images"):
        (out / name).mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as processes:
        made = processes.map(
            partial(picture, cache, side), range(first, first + count), chunksize=32
        )
        rows = [_row(out, number, *one) for number, one in enumerate(made, first)]
    for number in range(-(-count // per_tar)):
        part = rows[number * per_tar : (number + 1) * per_tar]
        _write_tar(out / "tars" / f"{number:08d}.tar", part)
    listed = pa.Table.from_pylist(rows).select(["url", "caption", "key"])
    pq.write_table(listed, out / "list.parquet")
    lines = [{"text": r["caption"], "images": [r["path"]], "key": r["key"]} for r in rows]
    (out / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _describe(out, rows, side)


def _row(out: Path, number: int, data: bytes, caption: str) -> dict[str, Any]:
    path = (out / "images" / f"{number:012d}.jpg").resolve()
    path.write_bytes(data)
    return {"key": path.stem, "path": str(path), "url": path.as_uri(), "caption": caption}


def _write_tar(path: Path, rows: list[dict[str, Any]]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for row in rows:
            meta = {"caption": row["caption"], "key": row["key"], "status": "success"}
            meta |= {"url": f"https://pictures.example/{row['key']}.jpg", "error_message": None}
            meta |= {"uid": sha256(row["key"].encode()).hexdigest()[:32], "exif": "{}"}
            _add(tar, f"{row['key']}.jpg", Path(row["path"]).read_bytes())
            _add(tar, f"{row['key']}.json", json.dumps(meta).encode())
            _add(tar, f"{row['key']}.txt", row["caption"].encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _describe(out: Path, rows: list[dict[str, Any]], side: int) -> None:
    sizes = [Image.open(row["path"]).size for row in rows]
    facts = {
        "seed": SEED,
        "images": len(rows),
        "side": side,
        "megapixels": round(sum(w * h for w, h in sizes) / 1e6, 1),
        "megabytes": round(sum(Path(row["path"]).stat().st_size for row in rows) / 1e6, 1),
        "kept_at_200": sum(min(size) >= 200 for size in sizes),
        "made_with": f"Pillow {PIL.__version__}",
    }
    (out / "pool.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{out}: {facts}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder that receives the pool")
    parser.add_argument("--images", type=int, default=IMAGES, help=f"how many (default {IMAGES})")
    parser.add_argument("--side", type=int, default=512, help="usual side in pixels (default 512)")
    parser.add_argument(
        "--cache", type=Path, help="where the packages are unpacked (default: OUT/../pictures)"
    )
    given = parser.parse_args()
    cache = given.cache or given.out.resolve().parent / "pictures"
    fetch(cache)
    write(given.out, cache, given.side, given.images)
    write(given.out / "warm", cache, given.side, WARM, first=given.images, per_tar=WARM // 8)


if __name__ == "__main__":
    main()
