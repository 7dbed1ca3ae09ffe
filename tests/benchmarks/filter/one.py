"""One way to score, timed in processes of its own, for `scoring`: the last line is JSON.

Every process passes over its first tar, then over all its tars, which alone is timed; they begin
together. Starting what reads tars (threads, or workers) is part of it.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import torch

from tests.benchmarks.filter.ways import WAYS


def passed(
    given: argparse.Namespace, tars: list[str], ready: Callable[[], object], told: Any
) -> None:
    """Puts the seconds for these tars into `told`, counted once the others are as far."""
    torch.set_num_threads(given.threads)
    pass_over = WAYS[given.way](given)
    pass_over(tars[:1])
    ready()
    begin = time.monotonic()
    pass_over(tars)
    told.put(time.monotonic() - begin)


def together(given: argparse.Namespace) -> float:
    """Seconds until the last process is done, each with its share of the tars."""
    context = multiprocessing.get_context("fork")
    told, barrier = context.SimpleQueue(), context.Barrier(given.processes)
    shares = [given.tars[n :: given.processes] for n in range(given.processes)]
    started = [
        context.Process(target=passed, args=(given, share, barrier.wait, told)) for share in shares
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
        if process.exitcode:
            raise SystemExit(f"a process ended with {process.exitcode}")
    return max(told.get() for _ in started)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--way", choices=WAYS, required=True)
    add("--model", required=True, help="as open_clip names it")
    add("--tars", nargs="+", required=True)
    add("--images", type=int, required=True, help="in all tars together")
    add("--images-alone", action="store_true", help="captions are not embedded")
    add("--batch", type=int, required=True)
    add("--processes", type=int, default=1, help="that share the tars")
    add("--threads", type=int, default=1, help="of each process for the model")
    add("--workers", type=int, default=0, help="of open_clip's loader")
    add("--decoders", type=int, default=1, help="of our scorer")
    add("--device", default="cpu")
    add("--precision", choices=("float32", "float16", "bfloat16"), default="float32")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    print(json.dumps({"images": given.images, "seconds": together(given)}), flush=True)


if __name__ == "__main__":
    main()
