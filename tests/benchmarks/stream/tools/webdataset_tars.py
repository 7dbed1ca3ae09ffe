"""webdataset: the pool's tars, shards shuffled and a buffer of samples, in DataLoader's workers."""

import argparse

import same_work
import torch
import webdataset

CURL = (
    "pipe:curl -sf --user $AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"
    " --aws-sigv4 aws:amz:$AWS_DEFAULT_REGION:s3 $AWS_ENDPOINT_URL/"
)
"""Reads S3, followed by bucket and key: the tool itself does not."""


def batches(given: argparse.Namespace) -> tuple[same_work.Batches, None]:
    urls = [url.replace("s3://", CURL) for url in same_work.tars(given)]
    read = webdataset.WebDataset(urls, shardshuffle=len(urls), seed=0).shuffle(same_work.BUFFER)
    crops = read.map(lambda sample: (same_work.crop(sample["jpg"]), sample["__key__"]))
    batched = crops.batched(given.batch, collation_fn=same_work.collate, partial=False)
    return iter(torch.utils.data.DataLoader(batched, None, num_workers=same_work.WORKERS)), None


if __name__ == "__main__":
    same_work.run(batches)
