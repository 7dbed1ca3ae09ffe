"""A training step of the filter beside that of open_clip's own loop, on the CPU.

    python -m tests.benchmarks.filter.training                           two minutes
    python -m tests.benchmarks.filter.training --model ViT-S-32 --batch 32 --steps 2
    python -m tests.benchmarks.filter.training --quick                   to see that it runs

Both train open_clip's model with its loss, without weights of anybody, in float32 and on the same
pairs in memory. Ours is the trainer's own step (`trainer/step.py`): it makes floats of bytes and
tokens of captions, and its AdamW is one kernel. open_clip's is `train_one_epoch`, with the
optimiser that its `main` makes; its loader's workers made floats and tokens before. In the last row
it makes them in the step, as ours does.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import open_clip
import torch
from open_clip_train.distributed import init_distributed_device
from open_clip_train.params import parse_args
from open_clip_train.scheduler import cosine_lr
from open_clip_train.train import train_one_epoch
from torch import Tensor

from pipeline.clip.opening import Opened, new_model
from tests.benchmarks.filter.models import DEMO, architecture
from tests.benchmarks.trainer import timing
from tests.benchmarks.trainer.timing import Row
from trainer.contrastive.config import FilterConfig
from trainer.distributed import World
from trainer.optimiser import build_optimiser
from trainer.pixels import normalise
from trainer.run import Run
from trainer.step import update
from trainer.stream.batch import Batch
from trainer.stream.config import StreamConfig

CPU = torch.device("cpu")
STEPS = 10**6
"""Of both schedules."""


def rows(given: argparse.Namespace) -> list[Row]:
    """Ours first. They are one model, so their FLOPs are one number."""
    model = architecture(given.model)
    opened = [new_model(model, seed=0, field="model") for _ in range(2)]
    config = config_of(model, opened[0].clip.visual.image_size, given)
    batch, (run, gflops) = batch_of(config), run_of(config)
    ready = [tensors(opened[0], batch)]
    made = Each(lambda: tensors(opened[1], batch))
    return [
        Row("headrace", lambda: update(run, batch), gflops),
        Row("open_clip, floats and tokens lie ready", theirs(opened[0], ready, given), gflops),
        Row("open_clip, which makes them in the step", theirs(opened[1], made, given), gflops),
    ]


def config_of(model: str | dict, size: int | tuple, given: argparse.Namespace) -> FilterConfig:
    """The rest is the default."""
    size = size[0] if isinstance(size, tuple) else size
    stream = StreamConfig(batch=given.batch, lanes=1, image_size=size)
    return FilterConfig(run="made", pairs="made", model=model, stream=stream, steps=STEPS)


def batch_of(config: FilterConfig) -> Batch:
    """Random pixels, and captions of some words, as a stream gives them."""
    images, size = config.stream.batch, config.stream.image_size
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 3, size, size), generator=generator, dtype=torch.uint8)
    pixels = pixels.to(memory_format=torch.channels_last)
    slots, zeros = torch.arange(images), torch.zeros(images, dtype=torch.int64)
    keys = [f"{number:09d}" for number in range(images)]
    captions = [f"picture {key}, a part of a photograph of a harbour" for key in keys]
    return Batch(0, pixels, zeros, slots, zeros, zeros, slots, keys, captions, [])


def run_of(config: FilterConfig) -> tuple[Run, float]:
    """The parts that a step needs, and what it computes in GFLOPs. Nothing is read."""
    world = World(0, 1, CPU)
    learner = config.learner(world, ["made"])
    optimiser = build_optimiser(learner.groups(), config.optimiser)
    nowhere = dict.fromkeys(("stream", "snapshots", "account", "skipping", "saver"))
    run = Run(config, world, learner, optimiser, folder=Path(), **nowhere)
    return run, learner.flops * config.stream.batch / 1e9


def tensors(opened: Opened, batch: Batch) -> tuple[Tensor, Tensor]:
    """What open_clip's loader would have made of it."""
    mean, std = opened.preprocess_cfg["mean"], opened.preprocess_cfg["std"]
    return normalise(batch.images, CPU, tuple(mean), tuple(std)), opened.tokenizer(batch.captions)


class Each:
    """One batch, made anew whenever somebody goes over it."""

    def __init__(self, make: Callable[[], tuple[Tensor, Tensor]]):
        self.make = make

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield self.make()


def theirs(
    opened: Opened, batches: Iterable[tuple[Tensor, Tensor]], given: argparse.Namespace
) -> Callable[[], object]:
    """An epoch of one batch, set up as open_clip's `main` does."""
    model, args = opened.clip, settings(given)
    model.output_dict = True
    optimiser = their_optimiser(model, args)
    scheduler = cosine_lr(optimiser, args.lr, args.warmup, STEPS)
    loader = Loader(batches, given.batch)
    data = {"train": SimpleNamespace(dataloader=loader, set_epoch=lambda epoch: None)}
    loss = open_clip.create_loss(args)
    return lambda: train_one_epoch(model, data, loss, 0, optimiser, None, scheduler, None, args)


class Loader:
    """What the loop asks of a loader: batches, and how many there are."""

    num_batches = 1

    def __init__(self, batches: Iterable[tuple[Tensor, Tensor]], num_samples: int):
        self.batches, self.num_samples = batches, num_samples

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.batches)


def settings(given: argparse.Namespace) -> argparse.Namespace:
    """What its command line would make of these options; the rest is its default."""
    words = ["--model", given.model, "--batch-size", str(given.batch)]
    args = parse_args([*words, "--precision", "fp32", "--device", "cpu", "--beta2", "0.98"])
    init_distributed_device(args)
    args.distill = args.wandb = False
    return args


def their_optimiser(model: torch.nn.Module, args: argparse.Namespace) -> torch.optim.AdamW:
    """As open_clip_train/main.py makes it: what it excludes from the decay, and torch's loop."""
    named = list(model.named_parameters())

    def excluded(name: str, parameter: Tensor) -> bool:
        words = ("bn", "ln", "bias", "logit_scale")
        return parameter.ndim < 2 or any(word in name for word in words)

    groups = [
        {"params": [p for n, p in named if excluded(n, p)], "weight_decay": 0.0},
        {"params": [p for n, p in named if not excluded(n, p)], "weight_decay": args.wd},
    ]
    return torch.optim.AdamW(groups, lr=args.lr, betas=(args.beta1, args.beta2), eps=args.eps)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.filter.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", default=DEMO, help="`demo` (default), or one of open_clip's")
    add("--batch", type=int, default=128, help="pairs in a step (default 128)")
    add("--steps", type=int, default=5, help="timed steps in a row (default 5)")
    add("--runs", type=int, default=5, help="turns of each row (default 5)")
    add("--threads", type=int, default=2, help="of the processor (default 2)")
    add("--quick", action="store_true", help="four pairs, one step, one turn")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.quick:
        given.batch, given.steps, given.runs = 4, 1, 1
    torch.set_num_threads(given.threads)
    print(f"{given.model}, batch {given.batch}, {given.threads} threads\n")
    found = timing.compare(rows(given), given.runs, given.steps)
    print("\n".join(timing.table(found)))


if __name__ == "__main__":
    main()
