"""webdataset: the pool's tars, shards shuffled and a buffer of samples, in DataLoader's workers."""

import argparse

import same_work
import torch
import webdataset


def batches(given: argparse.Namespace) -> tuple[same_work.Batches, None]:
    urls = same_work.tars(given.pool)
    read = webdataset.WebDataset(urls, shardshuffle=len(urls), seed=0).shuffle(same_work.BUFFER)
    crops = read.map(lambda sample: (same_work.crop(sample["jpg"]), sample["__key__"]))
    batched = crops.batched(given.batch, collation_fn=same_work.collate, partial=False)
    return iter(torch.utils.data.DataLoader(batched, None, num_workers=same_work.WORKERS)), None


if __name__ == "__main__":
    same_work.run(batches)
