"""litdata: the pool optimised into chunks, its own shuffle and DataLoader."""

import argparse
import shutil
from pathlib import Path
from typing import Any

import litdata
import same_work
import torch
from litdata.streaming import downloader


class Crops(litdata.StreamingDataset):
    def __getitem__(self, at: Any) -> tuple[Any, str]:
        sample = super().__getitem__(at)
        return same_work.crop(sample["jpg"]), sample["key"]


def sample(found: tuple[str, str]) -> dict[str, Any]:
    return {"jpg": Path(found[0]).read_bytes(), "key": found[1]}


def convert(given: argparse.Namespace) -> None:
    """Chunks of as many samples as the pool's tars."""
    shutil.rmtree(given.data)
    litdata.optimize(
        sample,
        same_work.samples(given.pool),
        str(given.data),
        chunk_size=same_work.PER_SHARD,
        num_workers=same_work.WORKERS,
        reorder_files=False,
    )


def batches(given: argparse.Namespace) -> tuple[same_work.Batches, Any]:
    if given.world > 1:
        torch.distributed.init_process_group("gloo")
    cache = str(given.data)
    url = same_work.converted(given)
    # It has no public switch for this, and the S3 server on loopback has no TLS.
    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True
    dataset = Crops(url or cache, cache if url else None, shuffle=True, drop_last=True, seed=0)
    return same_work.from_loader(litdata.StreamingDataLoader, dataset, given)


if __name__ == "__main__":
    same_work.run(batches, convert)
