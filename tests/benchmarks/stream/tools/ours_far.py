"""headrace's stream over 200,000 shards: what it takes to begin far inside.

All shards are one tar of the pool's first images, read through `synthetic://`: see synthetic.py.
With 10,000 samples a shard that is two billion. What --save writes is the state before step FAR.
"""

import argparse
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import ours
import same_work
import synthetic

from pipeline.format import snapshot
from trainer.stream.stream import Stream

SHARDS, SAMPLES, FAR = 200_000, 10_000, 1_000_000


def convert(given: argparse.Namespace) -> None:
    """The tar, its index, and the manifest of a snapshot that says it has all these shards."""
    tar = given.data / "shard.tar"
    found = same_work.samples(given.pool)[:SAMPLES]
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as out:
        for path, key in found:
            out.add(path, f"{key}.jpg")
    index = snapshot.index_tar(str(tar))
    (given.data / "shard.idx.parquet").write_bytes(snapshot.parquet_bytes(index))
    facts = {"samples": len(found), "nbytes": tar.stat().st_size, "sha256": digest(tar)}
    shards = tuple(snapshot.Shard(f"shards/{n:08d}.tar", **facts) for n in range(SHARDS))
    made = snapshot.Snapshot(
        dataset="",
        id="0",
        parent=None,
        config={},
        plan_sha256="",
        counts={"kept": SHARDS * len(found)},
        not_downloaded=0,
        shards=shards,
        ledger={},
        libraries={},
    )
    manifest = given.data / "snapshots" / "0" / "manifest.json"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_bytes(snapshot.manifest_bytes(made))


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def batches(given: argparse.Namespace) -> tuple[same_work.Batches, Any]:
    synthetic.register()
    stream = Stream(f"synthetic:/{given.data.resolve()}/snapshots/0", ours.config(given))
    if given.state:
        stream.load_state_dict(same_work.load(given))
    return ours.read(stream), lambda: stream.state_dict() | {"step": FAR}


if __name__ == "__main__":
    same_work.run(batches, convert)
