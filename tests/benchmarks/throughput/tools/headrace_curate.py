"""headrace: `curate` of the tars, with all its facts (eight hashes, language and others)."""

from pathlib import Path

import same_work

from jobs import curate
from jobs.cluster import session
from jobs.config import CurateConfig

ANEW = {
    "max_side": same_work.MAX_SIDE,
    "reencode": {"format": "jpeg", "quality": same_work.QUALITY},
}


def job(pool: Path, out: Path, anew: bool) -> None:
    shard = same_work.WARM_SHARD if pool.name == "warm" else same_work.PER_SHARD
    config = {
        "dataset": str(out),
        "sources": [{"url": str(pool / "tars" / "*.tar")}],
        "decide": {"rules": {"min_side": same_work.MIN_SIDE}},
        "write": {"shard_samples": shard} | ({"alter": ANEW} if anew else {}),
    }
    curate.run(CurateConfig.model_validate(config), same_work.WORKERS)


if __name__ == "__main__":
    with session(same_work.WORKERS):
        same_work.timed(job)
