"""The snapshot format: where things lie in a dataset, and how to read them.

    <dataset>/
      ledger/<measure>/<fingerprint>/<part>.parquet
      shards/<id>/00000000.tar             plain WebDataset: key.jpg key.txt key.json
      shards/<id>/00000000.idx.parquet     INDEX_SCHEMA, one row per sample
      snapshots/<id>/plan/00000000.parquet the verdicts, one file for each part of the pool
      snapshots/<id>/sources.parquet       the parts, their order and generation
      snapshots/<id>/manifest.json         written last, create-only: the snapshot exists with it
      snapshots/<id>/retired.json          its shards may be gone; the successor (retired.py)
      runs/pins/<id>-<run>.json            a training needs the snapshot (pins.py)
      LATEST                               the newest id

This module and its siblings are all that a trainer needs of the pipeline.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.format import address, store
from pipeline.format.errors import HeadraceError
from pipeline.format.tars import Damage, printable, scan

FORMAT = 1

INDEX_SCHEMA = pa.schema(
    [
        ("position", pa.int32()),  # 0-based place in the shard
        ("key", pa.string()),
        ("start", pa.int64()),  # first byte of the sample, its first header
        ("stop", pa.int64()),  # end of its last member's data
        ("image_extension", pa.string()),
        ("image_offset", pa.int64()),
        ("image_nbytes", pa.int64()),
        ("text_offset", pa.int64()),  # null where there is no caption
        ("text_nbytes", pa.int64()),
        ("json_offset", pa.int64()),  # null where there is no json
        ("json_nbytes", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Shard:
    """One tar of a snapshot. `path` is relative to the dataset."""

    path: str
    samples: int
    nbytes: int
    sha256: str

    @property
    def index_path(self) -> str:
        """The index that lies beside the tar."""
        return self.path.removesuffix(".tar") + ".idx.parquet"


@dataclass(frozen=True)
class Snapshot:
    """A published, immutable set of samples: all that its manifest says."""

    dataset: str
    id: str
    parent: str | None
    config: dict[str, Any]
    plan_sha256: str
    counts: dict[str, int]
    """Pool images by reason, kept ones as `kept`."""
    not_downloaded: int
    """Rows of the sources' lists that never had an image, which are no pool images."""
    shards: tuple[Shard, ...]
    ledger: dict[str, str]
    libraries: dict[str, str]

    @property
    def url(self) -> str:
        """The pinned name of this snapshot."""
        return address.join(self.dataset, "snapshots", self.id)

    @property
    def samples(self) -> int:
        """How many samples all shards hold."""
        return sum(shard.samples for shard in self.shards)


def snapshot_id(config: dict[str, Any], plan_sha256: str, parent: str | None) -> str:
    """The id that inputs determine, known before anything is written: 16 hex digits."""
    return hashlib.sha256(canonical_json([config, plan_sha256, parent])).hexdigest()[:16]


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spare space: equal values have equal bytes."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode(
        errors="replace"
    )


def manifest_bytes(snapshot: Snapshot) -> bytes:
    """The manifest of a snapshot, which does not name the dataset it lies in."""
    fields = asdict(snapshot)
    del fields["dataset"]
    text = json.dumps({"format": FORMAT, **fields}, sort_keys=True, indent=1, ensure_ascii=False)
    return text.encode() + b"\n"


def read_snapshot(url: str) -> Snapshot:
    """Reads `<dataset>/snapshots/<id>`, or the latest one of `<dataset>`.

    Raises HeadraceError when there is none or its manifest is not one of ours.
    """
    url = address.absolute(url)
    dataset, middle, name = url.rpartition("/snapshots/")
    if not middle or latest(url):  # a dataset, even one below a folder called snapshots
        dataset, name = url, latest(url) or ""
        if not name:
            raise HeadraceError(
                f"{url}: no snapshot here (no LATEST file); curate it first, or name "
                "<dataset>/snapshots/<id>"
            )
    manifest_url = address.join(dataset, "snapshots", name, "manifest.json")
    try:
        fields = json.loads(store.read_bytes(manifest_url))
        if fields.pop("format") != FORMAT:
            raise HeadraceError(f"{manifest_url}: made by another version of headrace")
        fields["shards"] = tuple(Shard(**shard) for shard in fields["shards"])
        return Snapshot(dataset=dataset, **fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HeadraceError(f"{manifest_url}: not a manifest of headrace: {error}") from error


def latest(dataset: str) -> str | None:
    """The id of the newest snapshot, or None where nothing was published yet."""
    url = address.join(dataset, "LATEST")
    return store.read_bytes(url).decode().strip() if store.exists(url) else None


def index_tar(url: str) -> pa.Table:
    """The index of a tar, by one scan of its headers. Raises HeadraceError on a damaged tar.

    Returns INDEX_SCHEMA; samples without an image are left out.
    """
    rows: list[dict[str, Any]] = []
    with store.reading(url), store.open_read(url) as file:
        for sample in scan(file):
            if isinstance(sample, Damage):
                raise HeadraceError(
                    f"{url}: byte {sample.offset}: {sample.message}; curate it first, which keeps "
                    "the samples that can be read"
                )
            image, text = sample.image, sample.members.get("txt")
            meta = sample.members.get("json")
            if image is None:
                continue
            rows.append(
                {
                    "position": len(rows),
                    "key": printable(sample.key),
                    "start": sample.start,
                    "stop": sample.stop,
                    "image_extension": image.extension,
                    "image_offset": image.offset,
                    "image_nbytes": image.nbytes,
                    "text_offset": text and text.offset,
                    "text_nbytes": text and text.nbytes,
                    "json_offset": meta and meta.offset,
                    "json_nbytes": meta and meta.nbytes,
                }
            )
    return pa.Table.from_pylist(rows, schema=INDEX_SCHEMA)


def read_parquet(url: str, columns: list[str] | None = None) -> pa.Table:
    """A whole parquet file by URL. Raises HeadraceError if it is missing or damaged."""
    with store.open_read(url) as file:
        return parse_parquet(url, file, columns)


def parse_parquet(url: str, file: Any, columns: list[str] | None = None) -> pa.Table:
    """The same of an open file, or of its bytes as an Arrow buffer."""
    try:
        table = pq.ParquetFile(file).read(columns)  # `pq.read_table` takes half a second to import
        return table.select(columns or table.column_names)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise HeadraceError(f"{url}: not a readable parquet file: {error}") from error


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as parquet, the same bytes for the same table and library version."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()
