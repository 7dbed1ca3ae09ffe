"""What img2dataset writes beside `0000.tar`: `0000.parquet` (all rows) and `0000_stats.json`."""

import io
import json
from typing import Any

from pipeline.format import address, store
from pipeline.pool.sample import MAX_TEXT_BYTES, Part
from pipeline.pool.tables import DamageError, Table, is_bytes, record

MAX_BYTES = 256_000_000
"""A sidecar of more bytes, packed or not, is as good as damaged: img2dataset's have a few MB."""

_ROWS, _STATS = ".parquet", "_stats.json"


def beside(tar: str, names: set[str]) -> list[str]:
    """Which of the names in the tar's folder are its sidecars."""
    stem = tar.rpartition("/")[2].removesuffix(".tar")
    return [stem + ending for ending in (_ROWS, _STATS) if stem + ending in names]


def records(part: Part) -> dict[str, dict[str, Any]]:
    """The sidecar's rows by their key; none if it is missing, damaged or too large."""
    try:
        return {row["key"]: row for row in _rows(part) if isinstance(row.get("key"), str)}
    except DamageError:
        return {}


def counts(part: Part) -> dict[str, int]:
    """What the sidecars tell of a part that no pool image shows; nothing where all is well.

    `not_downloaded`: rows that never had an image. `sidecar_damaged`: 1 if that cannot be told.
    """
    failures = _failures(part)
    if failures is None:
        try:
            failures = sum(row.get("status", "success") != "success" for row in _rows(part))
        except DamageError:
            return {"sidecar_damaged": 1}
    return {"not_downloaded": failures} if failures else {}


def _failures(part: Part) -> int | None:
    """Rows without an image by the statistics, if these are there and make sense."""
    try:
        stats = json.loads(_read(part, _STATS, MAX_TEXT_BYTES) or b"")
        failures = int(stats["count"]) - int(stats["successes"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return failures if 0 <= failures < 1 << 31 else None


def _rows(part: Part) -> list[dict[str, Any]]:
    """The rows of the parquet file. Raises DamageError."""
    data = _read(part, _ROWS, MAX_BYTES + 1)
    if data is None:
        return []
    table = Table(io.BytesIO(data))
    columns = [field.name for field in table.schema if not is_bytes(field.type)]
    found, nbytes = [], len(data)
    for group in range(len(table.groups)):
        for batch in table.batches(group, columns):
            nbytes += batch.nbytes
            if nbytes > MAX_BYTES:
                raise DamageError(f"more than {MAX_BYTES} bytes")
            found += [record(batch.slice(row, 1)) for row in range(batch.num_rows)]
    return found


def _read(part: Part, ending: str, limit: int) -> bytes | None:
    name = next((name for name in part.files if name.endswith(ending)), None)
    if name is None:
        return None
    return store.read_bytes(address.join(part.source.rpartition("/")[0], name), 0, limit)
