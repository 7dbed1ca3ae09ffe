"""headrace: `curate` of the tars, with all its facts (eight hashes, language and others)."""

from pathlib import Path

import work

from jobs import curate
from jobs.cluster import session
from jobs.config import CurateConfig

ANEW = {"max_side": work.MAX_SIDE, "reencode": {"format": "jpeg", "quality": work.QUALITY}}


def job(pool: Path, out: Path, anew: bool) -> None:
    shard = work.WARM_SHARD if pool.name == "warm" else work.PER_SHARD
    config = {
        "dataset": str(out),
        "sources": [{"url": str(pool / "tars" / "*.tar")}],
        "decide": {"rules": {"min_side": work.MIN_SIDE}},
        "write": {"shard_samples": shard} | ({"alter": ANEW} if anew else {}),
    }
    curate.run(CurateConfig.model_validate(config), work.WORKERS)


if __name__ == "__main__":
    with session(work.WORKERS):
        work.timed(job)
