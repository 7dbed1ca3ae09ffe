"""What a stream is said to hold, beside what a process held that read one."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.making import encode, picture, tar_of
from trainer.stream.config import StreamConfig
from trainer.stream.describe import told

SLACK = 24 << 20
"""Bytes that no setting of a stream changes: stacks, images being decoded, the allocator's own."""


def said_and_held(folder: Path, nbytes: int, config: StreamConfig, steps: int) -> tuple[int, int]:
    """Of a stream of 400 small pictures, each with noise behind it that fills it up to a size."""
    image = encode(picture(0), "JPEG")
    image += random.Random(0).randbytes(nbytes - len(image))
    (folder / "0.tar").write_bytes(tar_of({f"{n}.jpg": image for n in range(400)}))
    command = [sys.executable, "-m", "tests.trainer.stream.holding", str(folder / "0.tar")]
    command += [config.model_dump_json(), str(steps)]
    environment = os.environ | {"HEADRACE_CACHE": str(folder / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said, held = map(int, done.stdout.split())
    return said, held


@pytest.mark.parametrize(
    ("nbytes", "steps", "shape"),
    [
        pytest.param(300_000, 300, {"batch": 16, "image_size": 32, "block": 16}, id="blocks"),
        pytest.param(10_000, 60, {"batch": 64, "image_size": 224, "block": 2}, id="images"),
    ],
)
def test_a_process_holds_what_was_said_and_not_much_less(tmp_path, nbytes, steps, shape):
    config = StreamConfig(lanes=8, **shape)
    said, held = said_and_held(tmp_path, nbytes, config, steps)
    assert said / 2 < held < said + SLACK


def test_a_ratio_that_is_not_kept_closely_says_so():
    held = {"blocks": 3_000_000, "images": 500_000}
    ratio, memory = told({"worst_error": 0.8, "peak_bytes": held}, 4)
    assert ratio == "no source is ever further from its ratio than 0.8 samples"
    assert memory == "the stream holds at most 3.5 MB on each of 4 ranks: blocks 3.0, images 0.5"
    ratio, _ = told({"worst_error": 5, "peak_bytes": held}, 4)
    assert ratio.endswith("than 5 samples; rounder ratios, or another number of lanes, keep closer")
