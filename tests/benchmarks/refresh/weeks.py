"""A pool that grows by a few tars a week, of small JPEGs that follow from their numbers."""

from pathlib import Path

from tests.pipeline.making import encode, picture, tar_of

PER_TAR = 100

COPIES = 20
"""One picture in so many was there the week before, and comes back compressed anew."""


def write_week(pool: Path, week: int, images: int) -> int:
    """The tars of one week, `week-0003-00.tar` and on. Returns their bytes."""
    written = 0
    for number, first in enumerate(range(0, images, PER_TAR)):
        members = {}
        for place in range(first, min(images, first + PER_TAR)):
            key = f"{week:04d}{place:06d}"
            members[f"{key}.jpg"] = jpeg(week, place)
            members[f"{key}.txt"] = f"picture {place} of week {week}".encode()
        path = pool / f"week-{week:04d}-{number:02d}.tar"
        written += path.write_bytes(tar_of(members))
    return written


def jpeg(week: int, place: int) -> bytes:
    """A picture of some 10 kB; a copy of an older one is another file that looks the same."""
    if week and place % COPIES == COPIES - 1:
        return encode(picture((week - 1) * 1_000_000 + place - 1, 256, 192), "JPEG", quality=60)
    return encode(picture(week * 1_000_000 + place, 256, 192), "JPEG", quality=90)
