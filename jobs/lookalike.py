"""Which pool image looks most like a file: a hint for `headrace why`, by perceptual hash."""

import numpy as np

from pipeline.decide.views import MIN_QUALITY, PDQ_RADIUS
from pipeline.format.images import ImageError, decode
from pipeline.format.snapshot import read_parquet
from pipeline.measure import hashes

COLUMNS = ["source", "key", "offset", "phashes", "phash_quality"]


def nearest(data: bytes, urls: list[str]) -> str:
    """What to tell of an image's looks, given the image family's parts by URL.

    Exhaustive: 256 bytes of each pool image are read.
    """
    try:
        found = hashes.perceptual(decode(data))
    except ImageError as error:
        return f"nor can it be decoded: {error}"
    if found is None or found.phash_quality < MIN_QUALITY:
        return "it is too small or too flat to be recognised by its looks"
    bits, name = min((_of_part(found.phashes[:32], url) for url in urls), default=(256, ""))
    if bits > PDQ_RADIUS:
        return f"nor does one look like it (within {PDQ_RADIUS} of 256 bits)"
    return f"the nearest look is that of {name}, {bits} of 256 bits away"


def _of_part(wanted: bytes, url: str) -> tuple[int, str]:
    """Bits to the nearest image of a part, in any of its eight positions, and its name."""
    rows = read_parquet(url, COLUMNS)
    rows = rows.filter(rows["phashes"].is_valid())
    if not rows.num_rows:
        return 256, ""
    known = np.frombuffer(b"".join(rows["phashes"].to_pylist()), np.uint64).reshape(-1, 8, 4)
    bits = np.bitwise_count(known ^ np.frombuffer(wanted, np.uint64)).sum(axis=2).min(axis=1)
    at = int(bits.argmin())
    row = rows.slice(at, 1).to_pylist()[0]
    return int(bits[at]), f"{row['source']}#{row['key']}@{row['offset']}"
