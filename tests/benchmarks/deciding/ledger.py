"""A made-up ledger of any size: the columns that deciding reads, in parts of 100,000 rows."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import ledger
from pipeline.decide.pool import Pool

PART_ROWS = 100_000
REPEATED_BYTES, NEAR_COPIES = 0.1, 0.05
"""Shares of rows that have the bytes of another, and whose hash is up to 12 bits from another's."""

FAMILY = {"image": "made"}


def make(folder: Path, rows: int, near: bool) -> Pool:
    """Writes the ledger, with perceptual hashes if `near`, and names it as decide wants it."""
    sizes = [min(PART_ROWS, rows - begin) for begin in range(0, rows, PART_ROWS)]
    names = [f"{number:032x}" for number in range(len(sizes))]
    for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
        url = ledger.part_url(f"file://{folder}", "image", FAMILY["image"], name)
        path = Path(url.removeprefix("file://"))
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(_part(number, size, rows, near), path, compression="zstd")
    return Pool(tuple(names), (0,) * len(names), tuple(sizes), Load(f"file://{folder}"))


class Load:
    """Reads parts of the made-up ledger."""

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset

    def __call__(self, part: str, columns: set[str]) -> pa.Table:
        return ledger.read_part(self.dataset, FAMILY, part, columns)


def _part(number: int, size: int, rows: int, near: bool) -> pa.Table:
    random = np.random.default_rng(number)
    own = np.arange(number * PART_ROWS, number * PART_ROWS + size)
    repeats = random.random(size) < REPEATED_BYTES
    content = np.where(repeats, random.integers(0, rows, size), own)
    columns = {
        "source": pa.array([f"s3://made/{number:08d}.tar"] * size),
        "key": pa.array([f"{row:012d}" for row in own]),
        "offset": pa.array((own - own[0]) * 100_000),
        "uid": _hex(random.bytes(16 * size), 16),
        "nbytes": pa.array(random.integers(5_000, 200_000, size)),
        "error": pa.array(
            [None if good else "decode_failed: made up" for good in random.random(size) > 0.01]
        ),
        "sha256": _hex(_spread(content, 4).tobytes(), 32),
        "width": pa.array(random.integers(100, 1000, size), pa.int32()),
        "height": pa.array(random.integers(100, 1000, size), pa.int32()),
        "caption_words": pa.array(random.integers(0, 20, size), pa.int32()),
        "clip_score": pa.array(random.random(size), pa.float32()),
    }
    if near:
        hashes = [value.tobytes() for value in _hashes(random, own, rows)]
        columns |= {
            "phashes": pa.array([value[:256] for value in hashes], pa.binary(256)),
            "phash_quality": pa.array([100] * size),
            "window_phashes": pa.array([value[256:] for value in hashes], pa.binary(128)),
            "window_quality": pa.array([100] * size),
        }
    return pa.table(columns)


def _hashes(random: np.random.Generator, own: npt.NDArray, rows: int) -> npt.NDArray[np.uint8]:
    """Eight hashes of the whole and four of windows (n, 384).

    Random bits, or those of another row with a few of them off.
    """
    copies = random.random(len(own)) < NEAR_COPIES
    content = np.where(copies, random.integers(0, rows, len(own)), own)
    hashes = _spread(content, 48).view(np.uint8).reshape(len(own), 384).copy()
    for row in np.flatnonzero(copies):
        bits = random.integers(0, 256, random.integers(1, 13))
        np.bitwise_xor.at(hashes[row], bits // 8, (1 << (bits % 8)).astype(np.uint8))
    return hashes


def _spread(content: npt.NDArray, words: int) -> npt.NDArray[np.uint64]:
    """`words` well-mixed 64-bit words for each number (splitmix64)."""
    state = content.astype(np.uint64)[:, None] * np.uint64(words) + np.arange(
        words, dtype=np.uint64
    )
    mixed = state * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _hex(data: bytes, width: int) -> pa.Array:
    digits = data.hex()
    return pa.array([digits[at : at + 2 * width] for at in range(0, len(digits), 2 * width)])
