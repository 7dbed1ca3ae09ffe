"""The head on the scored patches beside the head on all: one model, one loss, on the CPU.

    python -m tests.benchmarks.trainer.head                          about a minute
    python -m tests.benchmarks.trainer.head --shapes paper           large, never run to its end

With paired prefixes half of the patches are scored, whatever was drawn. `demo` is aim-demo, whose
head is as wide as its trunk; `deep` is the same with the paper's 12 head blocks; `paper` is one
block of AIM-0.6B's trunk below its whole head, which leaves little beside the head to time. Its
optimiser reads and writes some 12 GB a step, which no choice of rows makes quicker.
"""

import argparse

import torch

from tests.benchmarks.trainer import made, timing
from tests.benchmarks.trainer.plain import Dense
from tests.benchmarks.trainer.timing import Row
from trainer.flops import image_flops
from trainer.model.sizes import SIZES, ModelConfig

CPU = torch.device("cpu")

SHAPES: dict[str, tuple[ModelConfig, int]] = {
    "demo": (SIZES["aim-demo"], 64),
    "deep": (SIZES["aim-demo"].model_copy(update={"head_depth": 12}), 64),
    "paper": (SIZES["aim-600m"].model_copy(update={"depth": 1}), 4),
}
"""Model and images of a step."""


def rows(shape: ModelConfig, images: int) -> list[Row]:
    """Both steps train one model, as weights and moments of two would not fit."""
    config = made.config_of(shape, images)
    model = made.aim(config, CPU)
    ours = made.Step(config, model, CPU)
    dense = made.Step(config, Dense(model), CPU)
    dense.run.optimiser = ours.run.optimiser
    return [
        Row("head on the scored patches", ours, _gflops(shape, images, 0.5)),
        Row("head on all patches", dense, _gflops(shape, images, 1.0)),
    ]


def _gflops(shape: ModelConfig, images: int, share: float) -> float:
    flops = image_flops(shape, kernel="mask", rows=share * shape.num_patches)
    return flops.training * images / 1e9


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.trainer.head",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--shapes", nargs="+", choices=SHAPES, default=["demo", "deep"], help="which models")
    add("--steps", type=int, default=3, help="timed steps in a row (default 3)")
    add("--runs", type=int, default=5, help="turns of each row (default 5)")
    add("--threads", type=int, default=2, help="of the processor (default 2)")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    torch.set_num_threads(given.threads)
    for name in given.shapes:
        shape, images = SHAPES[name]
        print(f"\n{name}, batch {images}, {given.threads} threads\n")
        found = timing.compare(rows(shape, images), given.runs, given.steps)
        print("\n".join(timing.table(found)))


if __name__ == "__main__":
    main()
