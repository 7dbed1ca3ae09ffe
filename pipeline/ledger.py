"""The ledger: what was measured, as row-aligned column families.

    <dataset>/ledger/<measure>/<fingerprint>/<part>.parquet

A family's fingerprint names what produced its facts, so a new model adds a family and measures
nothing else again. A part is published whole; what is published is not measured again.
"""

import contextlib
import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.format import address, store, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import canonical_json, parquet_bytes
from pipeline.pool.sample import Part

IMAGE_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("key", pa.string()),
        ("offset", pa.int64()),  # of the image's bytes in the source
        ("uid", pa.string()),
        ("nbytes", pa.int64()),
        ("error", pa.string()),  # null, or "<kind>: <words>"
        ("sha256", pa.string()),
        ("format", pa.string()),
        ("mode", pa.string()),  # of the pixels as stored: RGB, CMYK, I;16, P, …
        ("frames", pa.int32()),  # 1 but for animations; the first is the image
        ("orientation", pa.int8()),  # EXIF, 1 to 8; 1 where the file has none
        ("width", pa.int32()),  # pixels, the right way up
        ("height", pa.int32()),
        ("sharpness", pa.float32()),
        ("entropy", pa.float32()),  # bits of the luma histogram, 0 to 8
        ("flat_share", pa.float32()),  # share of pixels that look like their neighbours, 0 to 1
        ("bits_per_pixel", pa.float32()),  # of the file: how hard it was compressed
        ("phashes", pa.binary(256)),  # eight 256-bit PDQ hashes: as it is, then turned and flipped
        ("phash_quality", pa.int16()),  # 0 to 100
        ("window_phashes", pa.binary(128)),  # upper 3/4, mirrored; lower 3/4, mirrored
        ("window_quality", pa.int16()),
        ("caption", pa.string()),
        ("caption_words", pa.int32()),
        ("caption_characters", pa.int32()),
        ("language", pa.string()),  # of the caption, ISO 639; null where there are no words
        ("language_score", pa.float32()),  # 0 to 1
        ("url", pa.string()),  # told by the source, as are the next five
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("clip_b32_similarity_score", pa.float32()),
        ("clip_l14_similarity_score", pa.float32()),
        ("face_bboxes", pa.list_(pa.list_(pa.float32()))),  # x0, y0, x1, y1 as shares of the sides
        ("meta", pa.string()),  # the source's own json, canonical, without credentials
    ]
)

CLIP_SCHEMA = pa.schema(
    [
        ("clip_score", pa.float32()),  # cosine of image and caption; null if there is no image
        ("clip_embedding", pa.list_(pa.float16())),  # of the image, unit length
    ]
)

PAIRS_SCHEMA = pa.schema(
    [
        ("clip_score", pa.float32()),  # cosine of image and caption; all null if there is no image
        ("image_embedding", pa.list_(pa.float32())),  # unit length
        ("caption_embedding", pa.list_(pa.float32())),  # unit length
    ]
)


def fingerprint(measure: str, version: int, settings: dict[str, Any]) -> str:
    """Names what produces a family's facts: 16 hex digits."""
    return hashlib.sha256(canonical_json([measure, version, settings])).hexdigest()[:16]


def part_url(dataset: str, measure: str, fingerprint: str, part: str) -> str:
    """Where one part of a family lies."""
    return address.join(dataset, "ledger", measure, fingerprint, f"{part}.parquet")


def missing(dataset: str, measure: str, fingerprint: str, parts: Sequence[Part]) -> list[Part]:
    """The parts that are not published yet, in order, by one listing."""
    done = store.names(address.join(dataset, "ledger", measure, fingerprint))
    return [part for part in parts if f"{part.name}.parquet" not in done]


def write_part(url: str, table: pa.Table) -> None:
    """Publishes one part whole."""
    writing.publish(url, parquet_bytes(table))


def read_part(
    dataset: str, families: dict[str, str], part: str, columns: Collection[str]
) -> pa.Table:
    """Those of the named columns that these families have, one row per pool image of the part.

    `families` maps a family to its fingerprint. Raises HeadraceError if a part is missing or two
    of its families do not line up.
    """
    table: pa.Table | None = None
    for family, mark in families.items():
        url = part_url(dataset, family, mark, part)
        facts = _read(url, columns)
        if table is not None and facts.num_rows != table.num_rows:
            raise HeadraceError(
                f"{url}: not as long as the other families; remove it, measure again"
            )
        table = facts if table is None else _side_by_side(table, facts)
    assert table is not None
    return table


def count_part(dataset: str, family: str, fingerprint: str, part: str) -> int:
    """How many pool images a part holds."""
    url = part_url(dataset, family, fingerprint, part)
    with _opened(url) as file:
        return pq.read_metadata(file).num_rows


def _read(url: str, columns: Collection[str]) -> pa.Table:
    with _opened(url) as file:
        names = [name for name in pq.read_schema(file).names if name in columns]
        file.seek(0)
        return pq.read_table(file, columns=names)


@contextlib.contextmanager
def _opened(url: str) -> Iterator[IO[bytes]]:
    if not store.exists(url):
        raise HeadraceError(f"{url}: this part is not measured yet; run `headrace measure`")
    with store.open_read(url) as file:
        try:
            yield file
        except (pa.ArrowException, OSError) as error:
            raise HeadraceError(f"{url}: not a readable parquet file: {error}") from error


def _side_by_side(left: pa.Table, right: pa.Table) -> pa.Table:
    for name in right.column_names:
        left = left.append_column(right.schema.field(name), right.column(name))
    return left
