"""A plain Ray Data script: read_webdataset → map → filter → write_webdataset."""

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

import ray
import same_work


def measure(row: dict[str, Any], anew: bool) -> dict[str, Any]:
    side, phash, data = same_work.measure(row["jpg"], anew)
    meta = json.loads(row["json"]) | {"phash": phash}
    return row | {"side": side, "jpg": data, "json": json.dumps(meta).encode()}


def job(pool: Path, out: Path, anew: bool) -> None:
    found = same_work.tars(pool)
    rows = ray.data.read_webdataset(found, decoder=None, override_num_blocks=len(found))
    kept = rows.map(partial(measure, anew=anew)).filter(
        lambda row: row["side"] >= same_work.MIN_SIDE
    )
    kept.drop_columns(["side"]).write_webdataset(str(out), encoder=None)


if __name__ == "__main__":
    ray.init(
        address="local",  # not whatever runs on this machine
        num_cpus=same_work.WORKERS,
        include_dashboard=False,
        object_store_memory=1_000_000_000,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    same_work.timed(job)
