"""The stream feeding training steps on one GPU, beside steps whose images lie there already.

    python -m tests.benchmarks.throughput.pool --out POOL --side 256 --images 2000       once
    taskset -c 0-15 python -m tests.benchmarks.trainer.gpu_feed --pool POOL
    python -m tests.benchmarks.trainer.gpu_feed --dry-run --steps 5     on any machine, a minute

`made` are steps over the same random images on the device, `fed` steps over what the stream reads,
decodes and crops, `alone` is the stream without a model: what there is to spare. They take turns,
after a few steps that are not timed. `data wait` is the share of the time that Python waited for
a batch, as a run's log has it (`trainer/pace.py`). Work may still be queued on the device while it
waits, so what the device lost is what `fed` lacks of `made`, or less than the wait.

Without POOL the demo's drawings are fed, which are smaller than photographs. What the machine
needs, and how to carry it there, says gpu_step.py.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch

from tests.benchmarks.trainer import made
from tests.benchmarks.trainer.timing import finish, line, per_step, spread
from trainer.compute import AimComputeConfig
from trainer.config import TrainConfig
from trainer.model.sizes import SIZES
from trainer.pace import Pace, data_wait
from trainer.step import update
from trainer.stream.batch import Batch
from trainer.stream.config import CacheConfig
from trainer.stream.stream import Stream
from trainer.stream.transfer import to_device

DEMO = Path(__file__).parents[3] / "jobs" / "demo_data" / "trusted"
WARM = 8
"""Steps before each turn: what the stream made in advance meanwhile is used up."""

TURNS = 3
PARTS = ("fetch", "decode", "transfer")


class Feeding:
    """One model, and the two ways to give it images."""

    def __init__(self, config: TrainConfig, tars: list[str], device: torch.device):
        self.images, self.device = config.stream.batch, device
        self.made = made.Step(config, made.aim(config, device), device)
        self.stream, self.pace = Stream(tars, config.stream), Pace()

    def turn(self, steps: int) -> dict[str, Any]:
        """Images a second of each, and what was waited for."""
        per_step(self.made, WARM, self.device)
        seconds = per_step(self.made, steps, self.device)
        fed = self._fed(steps)
        waits = fed["waits"] | {"data": round(data_wait(fed), 4)}
        speeds = {"made": self.images / seconds, "fed": fed["images_per_second"]}
        return speeds | {"alone": self._alone(steps), "waits": waits}

    def _fed(self, steps: int) -> dict[str, Any]:
        """A line of the log over so many steps."""
        batches = to_device(self.pace.watch(iter(self.stream)), self.device)
        self._train(batches, WARM)
        self.pace.line(self.images)  # what was up to here is no part of the next one
        self._train(batches, steps)
        return self.pace.line(self.images)

    def _train(self, batches: Iterator[Batch], steps: int) -> None:
        for _ in range(steps):
            update(self.made.run, self.pace.take(batches))
        finish(self.device)

    def _alone(self, steps: int) -> float:
        batches = iter(self.stream)
        for _ in range(WARM):
            next(batches)
        began = time.perf_counter()
        for _ in range(steps):
            next(batches)
        return self.images * steps / (time.perf_counter() - began)


def config_of(given: argparse.Namespace, index: str) -> TrainConfig:
    """The index of the tars is kept for this run only."""
    shape = made.TINY if given.dry_run else SIZES[given.model]
    chosen = AimComputeConfig(precision="bfloat16", compile=not given.dry_run)
    config = made.config_of(shape, given.batch, chosen, given.threads)
    cache = {"cache": CacheConfig(folder=index, max_bytes=10**9)}
    return config.model_copy(update={"stream": config.stream.model_copy(update=cache)})


def tars_of(pool: Path) -> list[str]:
    """What throughput.pool wrote, or any folder of tars."""
    folder = pool / "tars" if (pool / "tars").is_dir() else pool
    return sorted(map(str, folder.glob("*.tar")))


def report(turns: list[dict[str, Any]]) -> Iterator[str]:
    """The table, and the goal."""
    yield line("images", "images/s", "min to max")
    yield "|---" * 3 + "|"
    for name in ("made", "fed", "alone"):
        rates = [turn[name] for turn in turns]
        yield line(name, f"{median(rates):.1f}", spread(rates, 1))
    waits = [turn["waits"] for turn in turns]
    parts = ", ".join(f"{part} {max(one[part] for one in waits):.2%}" for part in PARTS)
    worst = max(one["data"] for one in waits)
    yield f"\ndata wait {worst:.2%} of the time in the worst turn (goal: 2%); at most {parts}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.trainer.gpu_feed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, cores = parser.add_argument, len(os.sched_getaffinity(0))
    add("--pool", type=Path, default=DEMO, help="a folder of tars (default: the demo's)")
    add("--model", choices=SIZES, default="aim-600m")
    add("--batch", type=int, default=64, help="images in a step (default 64)")
    add("--threads", type=int, default=cores, help="that decode (default: a core each)")
    add("--steps", type=int, default=50, help="timed steps in a row (default 50)")
    add("--out", type=Path, help="receives a line of JSON for each turn")
    add("--dry-run", action="store_true", help="a tiny model, on this machine's CPU")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    device = torch.device("cpu" if given.dry_run else "cuda:0")
    where = "a dry run on a CPU" if given.dry_run else torch.cuda.get_device_name(device)
    cores = len(os.sched_getaffinity(0))
    print(f"{where}, {cores} cores, {given.threads} threads, {given.model}, batch {given.batch}\n")
    with tempfile.TemporaryDirectory() as index:
        feeding = Feeding(config_of(given, index), tars_of(given.pool), device)
        with feeding.stream:
            turns = [feeding.turn(given.steps) for _ in range(TURNS)]
    print("\n".join(report(turns)))
    if given.out:
        said = {"device": where, "cores": cores, "pool": str(given.pool), "model": given.model}
        said |= {"images": given.batch, "threads": given.threads}
        given.out.write_text("".join(json.dumps(said | turn) + "\n" for turn in turns))


if __name__ == "__main__":
    main()
