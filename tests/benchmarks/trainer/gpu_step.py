"""Training steps of AIM-0.6B and AIM-1B on one GPU: images a second, TFLOP/s, MFU, memory.

    python -m tests.benchmarks.trainer.gpu_step --out FILE            all rows
    python -m tests.benchmarks.trainer.gpu_step --models aim-1b --batches 64 --only mask flex graph
    python -m tests.benchmarks.trainer.gpu_step --dry-run             on any machine, a minute

A row is a model, the images of a micro-batch, and a way to compute. All make the trainer's own
step: bf16 products, the paper's objective with paired prefixes, clip and fused AdamW after each
micro-batch. Images lie on the device already: gpu_feed.py has the loader. Compiled are all ways
but `eager`. What does not fit into memory, or does not run, is a row that says so. FLOPs are those
of `trainer/flops.py`; `host waits` counts how often a step made Python wait for the device;
`--profile` also tells where the time goes. `--out` receives a JSON object a row, as soon as it is
measured.

It needs torch, numpy, pyarrow, fsspec, Pillow and pydantic. On a machine that lacks pydantic and
reaches no registry, carry it along in a folder, made anywhere for that machine's Python:

    pip install --target carried --only-binary=:all: --python-version 3.12 \\
        --platform manylinux_2_17_x86_64 pydantic
    PYTHONPATH=carried:. python -m tests.benchmarks.trainer.gpu_step
"""

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from tests.benchmarks.trainer import made, profiling
from tests.benchmarks.trainer.graphed import GraphedStep
from tests.benchmarks.trainer.timing import finish, line, per_step, spread
from trainer.compute import AimComputeConfig
from trainer.flops import image_flops, peak_flops, utilisation
from trainer.memory import peak_gb
from trainer.model.attending.choose import prepare
from trainer.model.sizes import SIZES, ModelConfig

WAYS: dict[str, dict[str, Any]] = {
    "eager": {"compile": False},
    "mask": {"attention": "mask"},
    "causal_overwrite": {"attention": "causal_overwrite"},
    "flex": {"attention": "flex"},
    "recompute": {"recompute": True},
    "graph": {},
}
"""By name, fields of the compute config; attention is `auto` where none is named."""

WARM, STEPS, TURNS = 3, 8, 3
MICRO_BATCHES = (16, 32, 64, 128)
HEAD = ("model", "images", "way", "attention", "images/s", "min to max", "ms", "TFLOP/s", "MFU")
HEAD += ("memory GB", "first step s", "host waits")


class Row(NamedTuple):
    """What to measure."""

    model: str
    images: int
    way: str


def measure(row: Row, shape: ModelConfig, device: torch.device, given: argparse.Namespace) -> dict:
    """What there is to say of a row, also if it failed."""
    try:
        return _measure(row, shape, device, given)
    except torch.OutOfMemoryError:
        return {"failed": "does not fit into memory"}
    except Exception as error:  # a kernel that this device lacks must not end the others
        return {"failed": f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]}


def _measure(row: Row, shape: ModelConfig, device: torch.device, given: argparse.Namespace) -> dict:
    chosen = AimComputeConfig.model_validate(
        {"precision": "bfloat16", "compile": True} | WAYS[row.way]
    )
    config = made.config_of(shape, row.images, chosen)
    peak_gb(device)  # begins anew
    began = time.perf_counter()
    step = stepping(row)(config, made.aim(config, device), device)
    step()
    finish(device)
    first = time.perf_counter() - began
    per_step(step, WARM, device)
    times = [per_step(step, given.steps, device) for _ in range(TURNS)]
    found = {"compute": chosen.model_dump(), "first_step_s": round(first, 1)}
    found |= speeds(shape, row.images, times, _kernel(chosen, shape, device), device)
    found |= {"memory_gb": peak_gb(device), "host_waits": profiling.host_waits(step, device)}
    return found | ({"shares": profiling.shares(step, device)} if given.profile else {})


def stepping(row: Row) -> Callable[..., Callable[[], object]]:
    """What makes the step."""
    return GraphedStep if row.way == "graph" else made.Step


def _kernel(chosen: AimComputeConfig, shape: ModelConfig, device: torch.device) -> str:
    """What `auto` is here."""
    prefix = torch.ones(1, dtype=torch.int64, device=device)
    with torch.no_grad():
        return prepare(chosen.attention, prefix, shape.num_patches).kernel


def speeds(
    shape: ModelConfig, images: int, times: list[float], kernel: str, device: torch.device
) -> dict[str, Any]:
    """From seconds a step, to what is printed. Half of the patches are scored."""
    flops = image_flops(shape, kernel=kernel, rows=shape.num_patches / 2).training
    rates = [images / seconds for seconds in times]
    return {
        "attention": kernel,
        "images_per_second": median(rates),
        "all_images_per_second": rates,
        "ms": 1e3 * median(times),
        **utilisation(median(rates), flops, 1, peak_flops(device)),
    }


def cells(row: Row, found: dict[str, Any]) -> Iterator[object]:
    """A line of the table."""
    yield from row
    if "failed" in found:
        yield from ("", found["failed"], *[""] * (len(HEAD) - 5))
        return
    yield found["attention"]
    yield f"{found['images_per_second']:.1f}"
    yield spread(found["all_images_per_second"], 1)
    yield f"{found['ms']:.1f}"
    yield found["tflops"]
    yield f"{found['mfu']:.1%}" if "mfu" in found else ""
    yield found["memory_gb"]
    yield found["first_step_s"]
    yield "" if found["host_waits"] is None else found["host_waits"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.trainer.gpu_step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--models", nargs="+", choices=SIZES, default=["aim-600m", "aim-1b"])
    add("--batches", nargs="+", type=int, default=MICRO_BATCHES, help="images of a micro-batch")
    add("--only", nargs="+", choices=WAYS, default=list(WAYS), help="ways (default all)")
    add("--steps", type=int, default=STEPS, help=f"timed steps in a row (default {STEPS})")
    add("--profile", action="store_true", help="shares of the time by kind of kernel")
    add("--out", type=Path, help="receives a line of JSON for each row")
    add("--dry-run", action="store_true", help="tiny models, on this machine's CPU")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    device = torch.device("cpu" if given.dry_run else "cuda:0")
    where = "a dry run on a CPU" if given.dry_run else torch.cuda.get_device_name(device)
    print(f"{where}, torch {torch.__version__}\n\n{line(*HEAD)}\n{'|---' * len(HEAD)}|", flush=True)
    batches = (2,) if given.dry_run else given.batches
    for row in [Row(m, n, way) for m in given.models for n in batches for way in given.only]:
        shape = made.TINY if given.dry_run else SIZES[row.model]
        found = measure(row, shape, device, given)
        print(line(*cells(row, found)), *_told(found), sep="\n", flush=True)
        if given.out:
            said = {"device": where, "torch": torch.__version__} | row._asdict() | found
            with given.out.open("a") as file:
                file.write(json.dumps(said) + "\n")
        _forget(device)


def _told(found: dict[str, Any]) -> list[str]:
    return [f"    {json.dumps(found['shares'])}"] if "shares" in found else []


def _forget(device: torch.device) -> None:
    """The next row begins with an empty device, and compiles its own blocks."""
    gc.collect()
    torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
