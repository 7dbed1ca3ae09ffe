"""A training step beside the same model made of timm's ViT, and of torch's own blocks, on the CPU.

    python -m tests.benchmarks.trainer.step                     about two minutes
    python -m tests.benchmarks.trainer.step --model aim-small --batch 16 --steps 2

All make the trainer's own step (`trainer/step.py`): images from bytes, forward pass, the paper's
loss, backward pass, clip, fused AdamW. They differ in the model alone: the same width, depth,
heads and threads, the same images, turn by turn. First the trunks, each below a single linear, then
the whole with the paper's head. Most linears of the peers have a bias, and neither has a prefix:
timm's patches all see each other, torch's see what came before.
"""

import argparse
from functools import partial

import torch
from torch import nn

from tests.benchmarks.trainer import made, timing
from tests.benchmarks.trainer.plain import Dense, Plain, TorchTrunk, timm_trunk
from tests.benchmarks.trainer.timing import Row
from trainer.flops import image_flops
from trainer.model.sizes import SIZES, ModelConfig

CPU = torch.device("cpu")


def trunks(shape: ModelConfig, images: int) -> list[Row]:
    """Each below one linear, which predicts the scored patches."""
    shape = shape.model_copy(update={"head_kind": "none"})
    row = partial(_row, shape, images)
    return [
        row("ours", made.aim(made.config_of(shape, images), CPU), "mask"),
        row("timm's ViT", Plain(timm_trunk(shape), shape), "full"),
        row("torch's TransformerEncoder, causal", Plain(TorchTrunk(shape), shape), "causal"),
    ]


def wholes(shape: ModelConfig, images: int) -> list[Row]:
    """With the paper's head."""
    row = partial(_row, shape, images)
    timm = partial(timm_trunk, shape)
    return [
        row("ours", made.aim(made.config_of(shape, images), CPU), "mask"),
        row("timm's ViT, our head on the scored patches", Plain(timm(), shape), "full"),
        row("timm's ViT, our head on all patches", Dense(Plain(timm(), shape)), "full", 1.0),
    ]


def _row(
    shape: ModelConfig, images: int, name: str, model: nn.Module, kernel: str, share: float = 0.5
) -> Row:
    """`share` of the patches pass through the head: half are scored where prefixes are paired."""
    flops = image_flops(shape, kernel=kernel, rows=share * shape.num_patches).training
    step = made.Step(made.config_of(shape, images), model, CPU)
    return Row(name, step, flops * images / 1e9)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.trainer.step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", choices=SIZES, default="aim-demo", help="a small one (default aim-demo)")
    add("--batch", type=int, default=64, help="images in a step (default 64)")
    add("--steps", type=int, default=5, help="timed steps in a row (default 5)")
    add("--runs", type=int, default=5, help="turns of each row (default 5)")
    add("--threads", type=int, default=2, help="of the processor (default 2)")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    torch.set_num_threads(given.threads)
    shape = SIZES[given.model]
    for title, rows in (("trunk alone", trunks), ("with the paper's head", wholes)):
        print(f"\n{given.model}, {title}, batch {given.batch}, {given.threads} threads\n")
        found = timing.compare(rows(shape, given.batch), given.runs, given.steps)
        print("\n".join(timing.table(found)))


if __name__ == "__main__":
    main()
