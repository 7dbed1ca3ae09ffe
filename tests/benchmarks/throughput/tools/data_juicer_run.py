"""Data-Juicer: image_deduplicator (pHash) and image_shape_filter over the loose files.

It writes lists, not tars of images (its Ray mode writes tars but decodes and encodes every JPEG on
the way), so a small writer of ours shards what it kept, in as many processes. It has no operator
that encodes images anew, hence no such row.
"""

import json
from functools import partial
from pathlib import Path

import same_work
import webdataset


def configure(pool: Path, out: Path) -> Path:
    import yaml

    fields = {
        "project_name": "throughput",
        "dataset_path": str(pool / "list.jsonl"),
        "export_path": str(out / "kept.jsonl"),
        "work_dir": str(out / "work"),
        "np": same_work.WORKERS,
        "use_cache": False,
        "ds_cache_dir": str(out / "cache"),
        "open_tracer": False,
        "keep_hashes_in_res_ds": True,
        "process": [
            {
                "image_shape_filter": {
                    "min_width": same_work.MIN_SIDE,
                    "min_height": same_work.MIN_SIDE,
                }
            },
            {"image_deduplicator": {"method": "phash"}},
        ],
    }
    path = out / "juice.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


def job(pool: Path, out: Path, _: bool) -> None:
    from data_juicer.config import init_configs
    from data_juicer.core import DefaultExecutor

    DefaultExecutor(init_configs(["--config", str(configure(pool, out))])).run(skip_return=True)
    lines = (out / "kept.jsonl").read_text().splitlines()
    firsts = range(0, len(lines), same_work.PER_SHARD)
    shards = [(number, lines[at : at + same_work.PER_SHARD]) for number, at in enumerate(firsts)]
    same_work.in_processes(partial(write, out), shards)


def write(out: Path, shard: tuple[int, list[str]]) -> None:
    number, lines = shard
    with webdataset.TarWriter(str(out / f"{number:08d}.tar"), encoder=False) as tar:
        for row in map(json.loads, lines):
            image = Path(row["images"][0]).read_bytes()
            meta = {"caption": row["text"], "phash": row["__dj__imagehash"]}
            files = {"jpg": image, "json": json.dumps(meta).encode(), "txt": row["text"].encode()}
            tar.write({"__key__": row["key"], **files})


if __name__ == "__main__":
    same_work.timed(job)
