"""One sample of an archive, and the split of the catalogue into the three disjoint parts."""

from collections.abc import Iterable
from dataclasses import dataclass

from demo_data import keyed
from demo_data.catalogue import Picture

CLASSES = [
    "animals", "computer", "food", "geography", "office",
    "people", "recreation", "shapes", "signs_and_symbols", "transportation",
]  # fmt: skip
TRAIN, VAL = 40, 10  # pictures of each class
TRUSTED = 950
MIN_QUALITY = 50  # below it a PDQ hash says little


@dataclass(frozen=True)
class Sample:
    name: str  # unique over all parts; the uid is its hash
    data: bytes
    extension: str
    caption: str
    true_caption: str  # empty where there is no picture to describe
    kind: str
    size: tuple[int, int]
    original_size: tuple[int, int]
    picture: str | None  # path in openclipart
    of: str | None = None  # the name of the sample whose picture this repeats
    label: str | None = None

    @property
    def uid(self) -> str:
        return keyed.digest("uid", self.name)[:32]


@dataclass(frozen=True)
class Parts:
    train: list[Picture]
    val: list[Picture]
    trusted: list[Picture]
    pool: list[Picture]


def original(picture: Picture, *, part: str, caption: str | None = None, kind: str = "clean",
             label: str | None = None) -> Sample:  # fmt: skip
    """The picture as published, under a name of its own."""
    image = picture.image
    return Sample(
        name=f"{part}:{picture.path}",
        data=image.data,
        extension=image.extension,
        caption=picture.caption if caption is None else caption,
        true_caption=picture.caption,
        kind=kind,
        size=(image.width, image.height),
        original_size=picture.original_size,
        picture=picture.path,
        label=label,
    )


def by_class(pictures: Iterable[Picture], label: str) -> list[Picture]:
    """A class's pictures in keyed order, those fit for the validation split first."""
    members = (p for p in pictures if p.category == label)
    ordered = keyed.shuffled(members, "target", lambda p: p.path)
    return sorted(ordered, key=lambda p: p.image.format == "png-alpha" or p.quality < MIN_QUALITY)


def split(pictures: list[Picture], pool_size: int) -> Parts:
    """Target classes first, then trusted pairs with telling captions, then the pool."""
    classes = [by_class(pictures, label) for label in CLASSES]
    val = [picture for members in classes for picture in members[:VAL]]
    train = [picture for members in classes for picture in members[VAL : VAL + TRAIN]]
    used = {picture.path for picture in [*val, *train]}
    rest = keyed.shuffled((p for p in pictures if p.path not in used), "part", lambda p: p.path)
    trusted = [picture for picture in rest if picture.category != "unsorted"][:TRUSTED]
    used |= {picture.path for picture in trusted}
    pool = [picture for picture in rest if picture.path not in used][:pool_size]
    if len(train) < TRAIN * len(CLASSES) or len(pool) < pool_size:
        raise ValueError("openclipart has too few distinct pictures for these parts")
    return Parts(train, val, trusted, pool)
