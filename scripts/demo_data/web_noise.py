"""The web pool: clean pictures plus every fault, each named by its kind."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from demo_data import faults, keyed, render
from demo_data.catalogue import DISTINCT_BITS, Picture
from demo_data.render import Encoded
from demo_data.samples import MIN_QUALITY, Sample, original

Maker = Callable[[Picture], Encoded | None]

DISTINCT = 1_100  # pictures of the pool that are read or were meant to be
WRONG_CAPTIONS = 0.30  # of the pictures with no other fault
CAPTION_FAULTS = {"empty_caption": 37, "junk_caption": 37}
IMAGE_FAULTS: dict[str, tuple[int, Maker]] = {
    "tiny": (12, faults.tiny),
    "extreme_aspect": (12, faults.extreme_aspect),
    "truncated": (10, faults.truncated),
}
NEAR_COPIES: dict[str, tuple[int, Maker]] = {
    "recompressed": (31, faults.recompressed),
    "resized": (31, faults.resized),
    "reencoded": (31, faults.reencoded),
}
EXACT_COPIES, LEAKED, HTML_PAGES = 50, 25, 8
LOST = 6  # samples written behind the cut of the last shard; the first of them is cut in two
DUPLICATE_BITS = 31
POOL_PICTURES = DISTINCT + LOST


class Neighbours:
    """All published hashes: nothing may come near another picture by accident."""

    def __init__(self, pictures: list[Picture]) -> None:
        self.paths = np.array([p.path for p in pictures])
        self.bits = np.stack([p.bits for p in pictures])

    def admits(self, encoded: Encoded, path: str) -> bool:
        """Far from every picture but its own; if so, it counts as published."""
        bits, _ = render.fingerprint(encoded.data)
        near = render.hamming(bits, self.bits) <= DISTINCT_BITS
        if (near & (self.paths != path)).any():
            return False
        self.paths, self.bits = np.append(self.paths, path), np.vstack([self.bits, bits])
        return True


def is_copy(encoded: Encoded, picture: Picture) -> bool:
    bits, _ = render.fingerprint(encoded.data)
    return picture.quality >= MIN_QUALITY and render.hamming(bits, picture.bits) <= DUPLICATE_BITS


def take(
    pictures: list[Picture], count: int, make: Callable[[Picture], Encoded | None]
) -> tuple[list[tuple[Picture, Encoded]], list[Picture]]:
    """The first `count` pictures that the maker accepts, made; and the others."""
    made: list[tuple[Picture, Encoded]] = []
    left: list[Picture] = []
    for picture in pictures:
        encoded = make(picture) if len(made) < count else None
        if encoded is None:
            left.append(picture)
        else:
            made.append((picture, encoded))
    if len(made) < count:
        raise ValueError(f"only {len(made)} of {count} pictures were fit for {make}")
    return made, left


def altered(picture: Picture, encoded: Encoded, kind: str, caption: str, of: str | None) -> Sample:
    return replace(
        original(picture, part=f"pool:{kind}", caption=caption, kind=kind),
        data=encoded.data,
        extension=encoded.extension,
        size=(encoded.width, encoded.height),
        of=of,
    )


def copy_caption(picture: Picture, pictures: list[Picture]) -> str:
    """A copy's caption is another page's: wrong as often as any caption of the pool."""
    if keyed.fraction("copy-caption", picture.path) >= WRONG_CAPTIONS:
        return picture.caption
    others = [p.caption for p in pictures if p.category != picture.category]
    return keyed.pick([c for c in others if c != picture.caption], "borrow", picture.path)


def wrong_captions(pictures: list[Picture]) -> list[Sample]:
    """Sorted by category and shifted by half: each gets a caption of another category."""
    ordered = sorted(pictures, key=lambda p: (p.category, keyed.digest("wrong", p.path)))
    half = len(ordered) // 2
    pairs = list(zip(ordered, ordered[half:] + ordered[:half], strict=True))
    if any(a.category == b.category or a.caption == b.caption for a, b in pairs):
        raise ValueError("a wrong caption would be right: one category is more than half")
    return [original(a, part="pool", caption=b.caption, kind="wrong_caption") for a, b in pairs]


def broken_captions(pictures: list[Picture], kind: str) -> list[Sample]:
    def caption(picture: Picture) -> str:
        junk = keyed.pick(faults.JUNK_CAPTIONS, "junk", picture.path)
        return junk if kind == "junk_caption" else ""

    return [original(p, part="pool", caption=caption(p), kind=kind) for p in pictures]


def broken_images(
    pictures: list[Picture], neighbours: Neighbours
) -> tuple[list[Sample], list[Picture]]:
    """Tiny, thin and truncated pictures; and the pictures left for other uses."""
    samples: list[Sample] = []
    for kind, (count, maker) in IMAGE_FAULTS.items():

        def make(picture: Picture, kind: str = kind, maker: Maker = maker) -> Encoded | None:
            encoded = maker(picture)
            if encoded is None or kind == "truncated":
                return encoded
            return encoded if neighbours.admits(encoded, picture.path) else None

        made, pictures = take(pictures, count, make)
        samples += [altered(p, e, kind, p.caption, None) for p, e in made]
    return samples, pictures


def copies(
    clean: list[Picture], kinds: dict[str, tuple[int, Maker]], of: Callable[[Picture], str],
    neighbours: Neighbours,
) -> list[Sample]:  # fmt: skip
    """Near or exact copies, at most one of each picture, each proven to be near its original."""
    samples: list[Sample] = []
    left = keyed.shuffled(clean, "copies", lambda p: p.path)
    for kind, (count, maker) in kinds.items():

        def make(picture: Picture, maker: Maker = maker) -> Encoded | None:
            encoded = None if picture.image.format == "png-alpha" else maker(picture)
            if encoded is None or not is_copy(encoded, picture):
                return None
            return encoded if neighbours.admits(encoded, picture.path) else None

        made, left = take(left, count, make)
        samples += [altered(p, e, kind, copy_caption(p, clean), of(p)) for p, e in made]
    return samples


def without_picture() -> list[Sample]:
    """Error pages saved as .jpg, and one decompression bomb."""
    bomb = faults.bomb()
    blank = Sample("pool:bomb", bomb.data, "png", "a very large black square", "", "bomb",
                   (bomb.width, bomb.height), (bomb.width, bomb.height), None)  # fmt: skip
    pages = [f"picture-{number}.jpg" for number in range(HTML_PAGES)]
    return [blank] + [
        replace(blank, name=f"pool:html:{page}", data=faults.html(page), extension="jpg",
                caption=f"Picture {page}", kind="html", size=(200, 200), original_size=(400, 400))
        for page in pages
    ]  # fmt: skip


def lost_tail(pictures: list[Picture]) -> tuple[list[Sample], list[Picture]]:
    """What lies behind the cut of the last archive, a JPEG first."""
    made, left = take(pictures, LOST, lambda p: p.image if p.image.format == "jpg" else None)
    samples = [original(p, part="pool:lost", kind="archive_damaged") for p, _ in made]
    return [replace(sample, true_caption="") for sample in samples], left


def build(
    pictures: list[Picture], val: list[Picture], neighbours: Neighbours
) -> tuple[list[Sample], list[Sample]]:
    """The pool's samples in the order of their archives, and the lost tail."""
    tail, left = lost_tail(pictures)
    samples, left = broken_images(left, neighbours)
    for kind, count in CAPTION_FAULTS.items():
        samples += broken_captions(left[:count], kind)
        left = left[count:]
    wrong = round(WRONG_CAPTIONS * len(left))
    clean = left[wrong:]
    samples += wrong_captions(left[:wrong])
    samples += [original(picture, part="pool") for picture in clean]
    near = {"exact_duplicate": (EXACT_COPIES, lambda p: p.image), **NEAR_COPIES}
    samples += copies(clean, near, lambda p: f"pool:{p.path}", neighbours)
    leak = {"in_target_val": (LEAKED, faults.leaked)}
    samples += copies(val, leak, lambda p: f"val:{p.path}", neighbours)
    samples += without_picture()
    return keyed.shuffled(samples, "position", lambda s: s.name), tail
