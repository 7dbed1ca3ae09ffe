"""A fetch of a small list from the misbehaving web."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.fetch.config import FetchConfig
from tests.pipeline.fetch.server import ALLOWED

DOWNLOAD = {"timeout": 10, "retries": 1, "backoff": 0, "max_bytes": 1_000_000}


def listed(folder: Path, urls: list[str], **columns: list[Any]) -> Path:
    """Writes a list whose captions tell the number of their row."""
    path = folder / "list.parquet"
    captions = [f"picture {number}" for number in range(len(urls))]
    pq.write_table(pa.table({"url": urls, "caption": captions} | columns), path)
    return path


def config(folder: Path, **changes: Any) -> FetchConfig:
    """A fetch of `folder`/list.parquet to `folder`/pool that may talk to this machine."""
    fields: dict[str, Any] = {
        "pool": str(folder / "pool"),
        "list": {"url": str(folder / "list.parquet")},
        "download": DOWNLOAD,
        "allow_addresses": ALLOWED,
    }
    return FetchConfig.model_validate(fields | changes)


def sidecar(folder: Path, number: int = 0) -> list[dict[str, Any]]:
    """All rows that a shard tells of."""
    return pq.read_table(folder / "pool" / f"{number:08d}.parquet").to_pylist()
