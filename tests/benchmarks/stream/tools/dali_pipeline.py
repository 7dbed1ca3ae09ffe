"""NVIDIA DALI's pipeline on the processor: the pool's tars, its own decoder, crop and flip."""

import argparse
import json

import same_work
from nvidia.dali import fn, pipeline_def, types


@pipeline_def(num_threads=same_work.WORKERS, device_id=None, prefetch_queue_depth=2, seed=0)
def crops(tars: list[str]) -> tuple:
    data, meta = fn.readers.webdataset(
        paths=tars,
        ext=["jpg", "json"],
        random_shuffle=True,
        initial_fill=same_work.BUFFER,
        name="tars",
    )
    image = fn.decoders.image_random_crop(
        data, random_area=list(same_work.SCALE), random_aspect_ratio=list(same_work.ASPECT)
    )
    image = fn.resize(image, size=[same_work.SIZE] * 2, interp_type=types.INTERP_CUBIC)
    return fn.flip(image, horizontal=fn.random.coin_flip()), meta


def read(given: argparse.Namespace) -> same_work.Batches:
    pipeline = crops(same_work.tars(given), batch_size=given.batch)
    pipeline.build()
    while True:
        images, meta = pipeline.run()
        keys = [json.loads(meta.at(n).tobytes())["key"] for n in range(len(meta))]
        yield images.as_array(), keys


def batches(given: argparse.Namespace) -> tuple[same_work.Batches, None]:
    return read(given), None


if __name__ == "__main__":
    same_work.run(batches)
