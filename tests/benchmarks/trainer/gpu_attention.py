"""The comparison of `attention.py` on a GPU, in bfloat16, at the shapes of AIM-0.6B and 1B.

    python -m tests.benchmarks.trainer.gpu_attention
    python -m tests.benchmarks.trainer.gpu_attention --dry-run    # tiny, on the CPU

Needs torch and nothing else. The winner belongs into `_AUTO` of trainer/model/attending/choose.py.
"""

import argparse

import torch

from tests.benchmarks.trainer.attention import Shape, report, tiny

HEADS = {"aim-600m": 12, "aim-1b": 16}
"""All of 128 channels, 256 patches, 24 blocks (AIM table 1)."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--images", type=int, nargs="+", default=[16, 64, 128], help="images of a micro-batch")
    add("--runs", type=int, default=11, help="timed runs of each (default 11)")
    add("--dry-run", action="store_true", help="tiny shapes on the CPU, to see that it runs")
    given = parser.parse_args()
    shapes = [
        Shape(name, images, heads, 256, 128, depth=24)
        for name, heads in HEADS.items()
        for images in given.images
    ]
    if given.dry_run:
        report(
            tuple(map(tiny, shapes[:: len(given.images)])),
            torch.device("cpu"),
            torch.bfloat16,
            runs=3,
        )
    elif torch.cuda.is_available():
        report(tuple(shapes), torch.device("cuda"), torch.bfloat16, given.runs)
    else:
        parser.error("torch finds no GPU: --dry-run tries the program on the CPU")


if __name__ == "__main__":
    main()
