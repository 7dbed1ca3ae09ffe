"""Samples to img2dataset-shaped tars, the same bytes every time; and the truth beside them."""

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from demo_data.samples import Sample

TRUTH = pa.schema(
    [
        ("shard", pa.string()),
        ("key", pa.string()),
        ("uid", pa.string()),
        ("offset", pa.int64()),  # of the sample's first tar header
        ("kind", pa.string()),
        ("of", pa.string()),
        ("caption_ok", pa.bool_()),
        ("true_caption", pa.string()),
        ("picture", pa.string()),
    ]
)


@dataclass(frozen=True)
class Placed:
    """Where a sample was written."""

    sample: Sample
    shard: str
    key: str
    offset: int


def describe(sample: Sample, key: str) -> dict[str, object]:
    """The json member, with img2dataset's fields in img2dataset's order."""
    fields: dict[str, object] = {
        "uid": sample.uid,
        "url": f"https://example.org/{sample.uid[:10]}.{sample.extension}",
        "caption": sample.caption,
        "key": key,
        "status": "success",
        "error_message": None,
        "width": sample.size[0],
        "height": sample.size[1],
        "original_width": sample.original_size[0],
        "original_height": sample.original_size[1],
        "exif": "{}",
        "sha256": hashlib.sha256(sample.data).hexdigest(),
        "face_bboxes": [],
    }
    return fields if sample.label is None else {**fields, "label": sample.label}


def members(sample: Sample, key: str) -> dict[str, bytes]:
    record = json.dumps(describe(sample, key), ensure_ascii=False, separators=(",", ":"))
    files = {
        sample.extension: sample.data,
        "json": record.encode(),
        "txt": sample.caption.encode(),
    }
    return dict(sorted(files.items()))


def write_tar(path: Path, samples: list[Sample], prefix: int) -> list[Placed]:
    """Write one shard; keys are eight digits of the prefix and four of the row."""
    placed = []
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for row, sample in enumerate(samples):
            key = f"{prefix:08d}{row:04d}"
            placed.append(Placed(sample, path.name, key, tar.offset))
            for extension, data in members(sample, key).items():
                info = tarfile.TarInfo(f"{key}.{extension}")  # mtime, uid and gid are 0
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return placed


def write_shards(
    folder: Path, samples: list[Sample], shards: int, *, stem: str = "", digits: int = 8,
    prefix: int = 0,
) -> list[Placed]:  # fmt: skip
    """Split samples over shards in order, as evenly as may be."""
    folder.mkdir(parents=True, exist_ok=True)
    edges = [len(samples) * shard // shards for shard in range(shards + 1)]
    placed: list[Placed] = []
    for shard in range(shards):
        path = folder / f"{stem}{shard:0{digits}d}.tar"
        placed += write_tar(path, samples[edges[shard] : edges[shard + 1]], prefix + shard)
    return placed


def cut(path: Path, victim: Placed) -> None:
    """Damage an archive: it ends half way through the victim's image."""
    with path.open("r+b") as file:
        file.truncate(victim.offset + tarfile.BLOCKSIZE + len(victim.sample.data) // 2)


def write_truth(path: Path, pool: list[Placed], keys: dict[str, str]) -> None:
    rows = [
        {
            "shard": place.shard,
            "key": place.key,
            "uid": place.sample.uid,
            "offset": place.offset,
            "kind": place.sample.kind,
            "of": keys[place.sample.of] if place.sample.of else None,
            "caption_ok": bool(place.sample.true_caption)
            and place.sample.caption == place.sample.true_caption,
            "true_caption": place.sample.true_caption,
            "picture": place.sample.picture,
        }
        for place in pool
    ]
    pq.write_table(pa.Table.from_pylist(rows, TRUTH), path, compression="zstd")
