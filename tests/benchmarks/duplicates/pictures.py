"""Real pictures to plant copies of, and look-alikes: pictures of a kind that show other things.

They come from three Debian packages, fetched with `apt-get download` and unpacked without root;
nothing of them is kept in this repository.
"""

import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.benchmarks.duplicates.transforms import SIDE

PACKAGES = ("openclipart-png", "tuxpaint-stamps-default", "mate-backgrounds")
CLIPART, STAMPS = "usr/share/openclipart/png", "usr/share/tuxpaint/stamps"
SCENES = "usr/share/backgrounds/mate/nature"

SERIES = (
    f"{CLIPART}/recreation/games/cards/simple",
    f"{CLIPART}/signs_and_symbols/flags/africa",
    f"{CLIPART}/signs_and_symbols/flags/america",
    f"{CLIPART}/signs_and_symbols/flags/asia",
    f"{CLIPART}/signs_and_symbols/flags/europe",
    f"{CLIPART}/transportation/roadsigns",
    f"{CLIPART}/people/smilies",
    f"{STAMPS}/symbols/alphabets/asl",
    f"{STAMPS}/symbols/alphabets/english/outlined/uppercase",
    f"{STAMPS}/symbols/money/euro/coins",
    f"{STAMPS}/town/houses/cartoon",
    f"{STAMPS}/animals/birds",
)
"""Folders whose pictures are drawn alike, but show other things."""

OBJECTS = ("animals/mammals", "animals/fish", "food/fruit", "vehicles", "household")
"""Stamps that are put into one scene after another; folders under STAMPS."""

NOT_DRAWN = ("shapes", "icons", "buttons", "flags", "cards", "led", "symbols", "patterns")
"""Folders that no copied picture is taken from: series, and pictures of next to nothing."""

TWINS = 0.9
"""Two pictures whose grey 32 x 32 thumbnails correlate as much, in one of the eight positions, are
twins: one drawing in other colours, a coin of 10 and one of 50. Who calls them copies has a point,
so of each set of twins one is a look-alike, and the others are counted apart. The count of false
pairs depends on this limit, which is a choice: docs/duplicates.md gives it for others, too."""


def fetch(cache: Path) -> Path:
    """Downloads and unpacks the packages into a folder, once."""
    for package in PACKAGES:
        if not list(cache.glob(f"{package}_*.deb")):
            cache.mkdir(parents=True, exist_ok=True)
            subprocess.run(["apt-get", "download", "-q", package], cwd=cache, check=True)
            [deb] = cache.glob(f"{package}_*.deb")
            subprocess.run(["dpkg", "-x", str(deb), str(cache / "root")], check=True)
    return cache / "root"


def load(path: Path, side: int = SIDE) -> Image.Image | None:
    """A picture on white with its longer side of `side` pixels; None if tiny, huge or broken."""
    try:
        with Image.open(path) as image:
            if min(image.size) < 60 or image.width * image.height > 20_000_000:
                return None
            rgba = image.convert("RGBA")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    white = Image.new("RGBA", rgba.size, "white")
    white.alpha_composite(rgba)
    scale = side / max(rgba.size)
    size = (max(8, round(rgba.width * scale)), max(8, round(rgba.height * scale)))
    return white.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def thumbnails(image: Image.Image) -> npt.NDArray[np.float64]:
    """(8, 1024) grey levels of a picture in its eight positions, centred and of length 1."""
    small = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), np.float64)
    turned = [np.rot90(side, turn) for side in (small, small.T) for turn in range(4)]
    eight = np.stack(turned).reshape(8, -1) - small.mean()
    return eight / np.maximum(np.linalg.norm(eight, axis=1, keepdims=True), 1e-9)


class Distinct:
    """Tells whether a picture is no twin of one that was distinct before."""

    def __init__(self) -> None:
        self.before: list[npt.NDArray[np.float64]] = []

    def __call__(self, image: Image.Image) -> bool:
        eight = thumbnails(image)
        if self.before and (eight @ np.stack(self.before).T).max() >= TWINS:
            return False
        self.before.append(eight[0])
        return True


def drawn(root: Path, random: np.random.Generator) -> Iterator[Image.Image]:
    """Pictures to be copied: seven of clip art for every four stamps, in random order."""
    pools = []
    for folder in (CLIPART, STAMPS):
        paths = sorted(path for path in (root / folder).rglob("*.png") if not path.is_symlink())
        paths = [p for p in paths if not any(word in str(p.parent) for word in NOT_DRAWN)]
        pools.append(iter([paths[n] for n in random.permutation(len(paths))]))
    while True:
        for pool, share in zip(pools, (7, 4), strict=True):
            some = list(islice((i for i in map(load, pool) if i is not None), share))
            if len(some) < share:
                return
            yield from some


def series(root: Path) -> Iterator[Image.Image]:
    """The pictures of every series."""
    for folder in SERIES:
        yield from filter(None, map(load, sorted((root / folder).glob("*.png"))))


def scenes(root: Path, objects: int) -> Iterator[Image.Image]:
    """Ten photographs, each with so many objects in its middle, one at a time."""
    stamps = [path for kind in OBJECTS for path in sorted((root / STAMPS / kind).rglob("*.png"))]
    stamps = stamps[:: max(1, len(stamps) // objects)][:objects]
    for path in sorted((root / SCENES).glob("*.jpg"))[:10]:
        with Image.open(path) as photograph:
            scene = photograph.convert("RGB").resize((SIDE, SIDE * 3 // 4))
        for stamp in stamps:
            yield _with_object(scene, stamp)


def _with_object(scene: Image.Image, stamp: Path) -> Image.Image:
    """The scene with the object in its middle, as large as fits."""
    scene, limit = scene.copy(), scene.height
    with Image.open(stamp) as image:
        cutout = image.convert("RGBA")
    cutout = cutout.crop(cutout.getbbox())
    scale = limit / max(cutout.size)
    cutout = cutout.resize([max(1, round(side * scale)) for side in cutout.size])
    at = ((scene.width - cutout.width) // 2, (scene.height - cutout.height) // 2)
    scene.paste(cutout, at, cutout)
    return scene
