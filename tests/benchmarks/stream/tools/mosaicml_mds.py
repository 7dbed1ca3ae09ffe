"""MosaicML's streaming: the pool written as MDS, its default shuffle, its own DataLoader."""

import argparse
import logging
import shutil
from pathlib import Path
from typing import Any

import same_work
from streaming import MDSWriter, StreamingDataLoader, StreamingDataset
from streaming.base.util import clean_stale_shared_memory


class Crops(StreamingDataset):
    def __getitem__(self, at: int) -> tuple[Any, str]:
        sample = super().__getitem__(at)
        return same_work.crop(sample["jpg"]), sample["key"]


def convert(given: argparse.Namespace) -> None:
    """Shards of about as many samples as the pool's tars."""
    shutil.rmtree(given.data)
    found = same_work.samples(given.pool)
    mean = sum(Path(path).stat().st_size for path, _ in found) / len(found)
    columns = {"jpg": "bytes", "key": "str"}
    limit = round(mean * same_work.PER_SHARD)
    with MDSWriter(out=str(given.data), columns=columns, size_limit=limit) as out:
        for path, key in found:
            out.write({"jpg": Path(path).read_bytes(), "key": key})


def batches(given: argparse.Namespace) -> tuple[same_work.Batches, Any]:
    if given.rank == 0 and given.world == 1:
        clean_stale_shared_memory()
    size = given.batch // given.world
    remote = same_work.converted(given)
    dataset = Crops(remote=remote, local=str(given.data), shuffle=True, batch_size=size)
    return same_work.from_loader(StreamingDataLoader, dataset, given)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    same_work.run(batches, convert)
