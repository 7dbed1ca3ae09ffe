"""The folder that is searched: copies of pictures among look-alikes, and which is which."""

import json
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from tests.benchmarks.duplicates import pictures
from tests.benchmarks.duplicates.transforms import SIDE, TRANSFORMS, encode

SEED = 7
ORIGINALS = 400
"""Of 115, recall differed by 0.034 between six seeds."""
OBJECTS = 28
"""Objects that take turns in each of ten scenes."""

ORIGINAL, LOOK_ALIKE, TWIN = "original", "look-alike", "twin"


@dataclass(frozen=True)
class Truth:
    """What every file is: `picture` tells which picture it shows, `kind` how it was made."""

    picture: dict[str, int]
    kind: dict[str, str]

    def copies(self, transform: str) -> list[tuple[str, str]]:
        """(original, copy), the pairs that are to be found."""
        first = {self.picture[name]: name for name in self.kind if self.kind[name] == ORIGINAL}
        made = [name for name, kind in self.kind.items() if kind == transform]
        return [(first[self.picture[name]], name) for name in made]

    def false(self, pairs: set[tuple[str, str]]) -> list[tuple[str, str]]:
        """Pairs of different pictures, none of them a twin."""
        return [
            (one, other)
            for one, other in sorted(pairs)
            if self.picture[one] != self.picture[other]
            and TWIN not in (self.kind[one], self.kind[other])
        ]

    def twins(self, pairs: set[tuple[str, str]]) -> int:
        """How many pairs of different pictures have a twin in them."""
        apart = [pair for pair in pairs if self.picture[pair[0]] != self.picture[pair[1]]]
        return len(apart) - len(self.false(pairs))

    def count(self, kind: str) -> int:
        return list(self.kind.values()).count(kind)


def plant(root: Path, folder: Path, seed: int = SEED) -> Truth:
    """Writes the pool, unless it is there already."""
    told = folder.with_name(f"{folder.name}.json")
    if not told.exists():
        folder.mkdir(parents=True)
        truth = _write(root, folder, seed)
        told.write_text(json.dumps({"picture": truth.picture, "kind": truth.kind}))
    return Truth(**json.loads(told.read_text()))


def _write(root: Path, folder: Path, seed: int) -> Truth:
    picture: dict[str, int] = {}
    kind: dict[str, str] = {}

    def keep(number: int, made: str, data: bytes) -> None:
        name = f"{len(picture):05d}.{'webp' if made == 'converted' else 'jpg'}"
        (folder / name).write_bytes(data)
        picture[name], kind[name] = number, made

    distinct = pictures.Distinct()
    originals = filter(distinct, pictures.drawn(root, np.random.default_rng(seed)))
    for number, image in zip(range(ORIGINALS), originals, strict=False):
        for transform, change in TRANSFORMS.items():
            keep(number, transform, change(image))
        keep(number, ORIGINAL, encode(image))
    alike = [*pictures.series(root), *pictures.scenes(root, OBJECTS)]
    for number, image in enumerate(alike, ORIGINALS):
        keep(number, LOOK_ALIKE if distinct(image) else TWIN, encode(image))
    return Truth(picture, kind)


def crowd(root: Path, folder: Path, count: int, seed: int = SEED) -> None:
    """Writes so many different images, unless they are there: random cuts of the pictures."""
    if folder.exists():
        return
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    bases = [*pictures.series(root), *pictures.scenes(root, OBJECTS)]
    for number in range(count):
        image = bases[number % len(bases)]
        share = random.uniform(0.3, 0.9)
        size = np.array([max(16, int(side * share)) for side in image.size])
        left, top = random.integers(0, np.array(image.size) - size + 1)
        cut = image.crop((left, top, left + size[0], top + size[1]))
        shape = (SIDE, int(random.integers(SIDE // 2, SIDE)))
        (folder / f"{number:06d}.jpg").write_bytes(encode(cut.resize(shape)))


def near(pairs: list[tuple[str, str, float]], limit: float) -> set[tuple[str, str]]:
    """Pairs within a distance, each once, in the order of their names."""
    return {(min(a, b), max(a, b)) for a, b, distance in pairs if a != b and distance <= limit}


def same_bytes(digests: dict[str, str]) -> list[tuple[str, str, float]]:
    """All pairs of files with one digest, at distance 0."""
    groups: dict[str, list[str]] = {}
    for name, digest in digests.items():
        groups.setdefault(digest, []).append(name)
    return [(a, b, 0.0) for group in groups.values() for a, b in combinations(group, 2)]
