"""headrace's stream over the pool's tars: their index is its conversion.

The variant is a JSON object of fields of the stream's config.
"""

import argparse
import json
import math
from typing import Any

import same_work

from pipeline.format.tarset import tar_set
from trainer.stream.config import StreamConfig
from trainer.stream.jitter import jittered
from trainer.stream.stream import Stream

LANES = 64


def config(given: argparse.Namespace, **more: Any) -> StreamConfig:
    lanes = math.gcd(LANES, given.batch)
    fields = {"batch": given.batch, "lanes": lanes, "image_size": same_work.SIZE}
    chosen = json.loads(given.variant or "{}") | more
    augment = {"min_scale": same_work.SCALE[0], "max_aspect": same_work.ASPECT[1]}
    augment |= chosen.pop("augment", {})
    threads = {"threads": same_work.WORKERS}
    return StreamConfig.model_validate(fields | threads | chosen | {"augment": augment})


def convert(given: argparse.Namespace) -> None:
    tar_set(same_work.tars(given), str(given.data))


def batches(given: argparse.Namespace) -> tuple[same_work.Batches, Any]:
    cache = {"folder": str(given.data), "max_bytes": 10**9}
    stream = Stream(same_work.tars(given), config(given, cache=cache), given.rank, given.world)
    if given.state:
        stream.load_state_dict(same_work.load(given))
    return read(stream), stream.state_dict


def read(stream: Stream) -> same_work.Batches:
    for batch in stream:
        images = jittered(batch, stream.names, stream.config.seed, stream.config.augment.jitter)
        yield images.permute(0, 2, 3, 1), batch.keys


if __name__ == "__main__":
    same_work.run(batches, convert)
