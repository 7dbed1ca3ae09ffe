"""openclipart's folders to distinct pictures, each with its caption and category."""

import re
import warnings
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from PIL import Image

from demo_data import keyed, render

MAX_PIXELS = 9_000_000
DISTINCT_BITS = 40  # any two pictures are further apart than this
PER_FOLDER = 60  # 1,378 of openclipart's pictures are near-identical stars
COLLECTION = 5  # a title that more files share names their collection, not the picture
DULL_WORDS = {"theme", "icons", "unsorted", "sign", "special", "clipart", "geometry", "magick"}
MEMORY_ADDRESS = re.compile(r"hash\b|0x[0-9a-f]{5}")  # left by a script of openclipart's
DC = "{http://purl.org/dc/elements/1.1/}"


@dataclass(frozen=True)
class Picture:
    path: str  # relative to openclipart's png folder
    caption: str
    original_size: tuple[int, int]
    image: render.Encoded
    bits: np.ndarray
    quality: int

    @property
    def category(self) -> str:
        return self.path.partition("/")[0]


def tidy(text: str | None) -> str:
    """One line of plain words, without the number of a series: 'sunflower_02 ' → 'sunflower'."""
    line = re.sub(r"[\s_]+", " ", text or "").strip(" .-")
    line = re.sub(r"^Clipart by .+? - ", "", line)
    return re.sub(r"(?<=[A-Za-z]) ?\d+$", "", line)


def read_words(svg: Path) -> tuple[str, list[str]]:
    """The dc:title and keywords of the pictured work; empty where the SVG doesn't parse."""
    try:
        root = ET.parse(svg).getroot()
    except (ET.ParseError, OSError, UnicodeError, LookupError, ValueError):
        return "", []
    work = next((node for node in root.iter() if node.tag.endswith("}Work")), None)
    if work is None:
        return "", []
    subject = work.find(f"{DC}subject")
    bag = [] if subject is None else subject.iter()
    words = [tidy(node.text).lower() for node in bag if node.tag.endswith("}li")]
    return tidy(work.findtext(f"{DC}title")), [
        w for w in words if w and not MEMORY_ADDRESS.search(w)
    ]


def compose(path: str, title: str, keywords: list[str], collections: set[str]) -> str:
    """'Tiger, mammal, feline, animals': title (or file name), keywords, folder."""
    folders, stem = path.split("/")[:-1], tidy(Path(path).stem)
    named = title if title and title not in collections else stem
    fresh: list[str] = []
    for word in [*keywords, tidy(folders[-1])]:
        said = " ".join([named, *fresh]).lower()
        if word not in DULL_WORDS and word.rstrip("s") not in said:
            fresh.append(word)
    return ", ".join([named, *fresh[:5]])[:80].rstrip(" ,")


def captions(root: Path, paths: list[str]) -> dict[str, str]:
    words = {path: read_words(root / "svg" / Path(path).with_suffix(".svg")) for path in paths}
    shared = Counter(title for title, _ in words.values())
    collections = {title for title, count in shared.items() if count > COLLECTION}
    return {path: compose(path, *words[path], collections) for path in paths}


def usable(image: Image.Image) -> bool:
    """Of a sensible size and shape; an opened file is judged by its header alone."""
    width, height = image.size
    small, large = sorted(image.size)
    return width * height <= MAX_PIXELS and small >= 48 and large >= 60 and large <= 2.5 * small


def load(root: Path, item: tuple[str, str]) -> Picture | None:
    """Read, publish and hash one picture; None if it is unusable, blank or unreadable."""
    path, caption = item
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(root / "png" / path) as image:
            if not usable(image):
                return None
            size, pixels = image.size, render.trim(image.convert("RGBA"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    if not usable(pixels):
        return None
    encoded = render.publish(render.shrink(pixels, render.SIDES[0]), path)
    if np.asarray(render.decode(encoded.data).convert("L")).std() < 12:
        return None
    return Picture(path, caption, size, encoded, *render.fingerprint(encoded.data))


def read_all(root: Path, processes: int) -> list[Picture]:
    """Every usable picture that is a file of its own, with a caption, in path order."""
    files = [file for file in (root / "png").rglob("*.png") if not file.is_symlink()]
    paths = sorted(file.relative_to(root / "png").as_posix() for file in files)
    items = sorted(captions(root, paths).items())
    with Pool(processes) as pool:
        loaded = pool.imap(partial(load, root), items, chunksize=32)
        return [picture for picture in loaded if picture is not None]


def distinct(pictures: list[Picture]) -> list[Picture]:
    """In keyed order, each picture that is far from all those already taken."""
    taken: list[Picture] = []
    folders: Counter[str] = Counter()
    seen = np.zeros((len(pictures), 4), np.uint64)
    for picture in keyed.shuffled(pictures, "distinct", lambda p: p.path):
        folder = picture.path.rpartition("/")[0]
        near = render.hamming(picture.bits, seen[: len(taken)]) <= DISTINCT_BITS
        if near.any() or folders[folder] >= PER_FOLDER:
            continue
        seen[len(taken)] = picture.bits
        folders[folder] += 1
        taken.append(picture)
    return taken
