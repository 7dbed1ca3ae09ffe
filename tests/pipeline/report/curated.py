"""Snapshots made by the pipeline's own functions, without Ray; scores are made up."""

import io
import tarfile
from functools import partial
from pathlib import Path

import pyarrow as pa

from pipeline import ledger, plan
from pipeline.decide.config import DecideConfig
from pipeline.decide.decide import Decided, decide
from pipeline.decide.duplicates import DuplicatesConfig
from pipeline.decide.engine import Local
from pipeline.decide.judge import prepare
from pipeline.decide.layout import WriteConfig
from pipeline.decide.pool import Pool
from pipeline.decide.rules import RulesConfig
from pipeline.format import address, writing
from pipeline.format.snapshot import Shard, Snapshot, parquet_bytes, snapshot_id
from pipeline.measure import image
from pipeline.measure.image import ImageConfig, measure_part
from pipeline.pool.sample import Part
from pipeline.pool.source import SourceConfig, parts
from pipeline.write.alter import AlterConfig
from pipeline.write.publish import library_versions, publish
from pipeline.write.rows import Kept, kept_rows
from pipeline.write.shards import WRITE_COLUMNS, shard_path, write_shard
from tests.pipeline.making import encode, picture

RULES = RulesConfig(min_side=24, max_aspect=4, min_caption_words=1)
DECIDE = DecideConfig(rules=RULES, duplicates=DuplicatesConfig())
IMAGE = {"image": image.fingerprint(ImageConfig())}


def curate(dataset: Path, pool: str, config: DecideConfig = DECIDE) -> Snapshot:
    """A snapshot of a pool of tars, its kept images in one shard."""
    found, url = parts((SourceConfig(url=pool),)), address.absolute(str(dataset))
    families = IMAGE | ({"clip": "c"} if config.cuts else {})
    for part in found:
        measure(url, part, families)
    rows = [ledger.count_part(url, "image", families["image"], part.name) for part in found]
    names = tuple(part.name for part in found)
    load = partial(ledger.read_part, url, families)
    measured = Pool(names, (0,) * len(found), tuple(rows), load)
    decided = decide(Local(), measured, prepare(config, None), config, WriteConfig())
    identity = {"decide": config.model_dump(mode="json"), "sources": [{"url": pool}]}
    mark = snapshot_id(identity, decided.sha256, None)
    keep_plan(address.join(url, "snapshots", mark), decided, found, measured)
    shard = write(Kept(url, mark, families), found)
    digest, libraries = decided.sha256, library_versions()
    snapshot = Snapshot(
        url, mark, None, identity, digest, decided.counts, 0, (shard,), families, libraries
    )
    publish(snapshot, None)
    return snapshot


def measure(dataset: str, part: Part, families: dict[str, str]) -> None:
    """One part's facts into the ledger."""
    facts = measure_part(part, ImageConfig())
    ledger.write_part(ledger.part_url(dataset, "image", families["image"], part.name), facts)
    if "clip" in families:
        score = [made_up_score(row) for row in facts.to_pylist()]
        columns = {"clip_score": score, "clip_embedding": [[0.0] * 16] * len(score)}
        clip = pa.table(columns, ledger.CLIP_SCHEMA)
        ledger.write_part(ledger.part_url(dataset, "clip", families["clip"], part.name), clip)


def made_up_score(row: dict) -> float | None:
    return None if row["error"] else int(row["sha256"][:4], 16) / 65536


def keep_plan(folder: str, decided: Decided, found: list[Part], pool: Pool) -> None:
    for number, table in enumerate(decided.tables):
        plan.write_part(folder, number, table)
    columns = {name: [getattr(p, name) for p in found] for name in ("source", "format", "nbytes")}
    columns |= {"part": list(pool.parts), "generation": list(pool.generations)}
    columns |= {"first_row": pool.bounds[:-1], "rows": list(pool.rows)}
    columns["not_downloaded"] = [0] * len(found)
    table = pa.table({name: columns[name] for name in plan.SOURCES_SCHEMA.names})
    writing.publish(plan.sources_url(folder), parquet_bytes(table.cast(plan.SOURCES_SCHEMA)))


def write(kept: Kept, found: list[Part]) -> Shard:
    names = [(number, part.name) for number, part in enumerate(found)]
    rows = partial(kept_rows, kept, 0, names, WRITE_COLUMNS)
    formats = {part.source: part.format for part in found}
    return write_shard(kept.dataset, shard_path(kept.snapshot, 0), rows, formats, AlterConfig())


def photo(seed: int, side: int = 64, quality: int = 95) -> bytes:
    """A JPEG of smooth noise, the same for the same seed."""
    return encode(picture(seed, side, side), "JPEG", quality=quality)


def write_tar(path: Path, samples: list[tuple[str, bytes, str]], **meta: bytes) -> None:
    """A tar of (key, image, caption); `meta` has the json of some keys."""
    with tarfile.open(path, "w") as tar:
        for key, data, caption in samples:
            members = {"jpg": data, "txt": caption.encode()}
            if key in meta:
                members["json"] = meta[key]
            for extension, content in members.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
