"""Scored images a second beside the bare model, and beside open_clip's own evaluation loops.

    python -m tests.benchmarks.throughput.pool --out POOL                   once: 2,048 pictures
    python -m tests.benchmarks.filter.scoring --pool POOL
    python -m tests.benchmarks.filter.scoring --pool POOL --only captions decoding
    python -m tests.benchmarks.filter.scoring --quick                       to see that it runs
    python -m tests.benchmarks.filter.scoring --pool POOL --device cuda --precision float16 \\
        --decoders 8 --batch 256 --images 16384                             on a machine with a GPU

All read the same tars, with random weights. Each row runs in processes of its own, bound to as many
cores as its table says; rows take turns. What they do, and where they differ, is told in README.md.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks import command, comparison
from tests.benchmarks.filter import models, pictures
from tests.benchmarks.filter.rows import Row, asked, on_cores, on_gpu
from tests.benchmarks.filter.table import table

MOST = {models.DEMO: 1024}
"""Pictures of a timed pass; others get IMAGES."""

IMAGES, TARS, BATCH = 256, 4, 64


def rate(row: Row, work: list[str], given: argparse.Namespace, log: Path) -> float:
    """Images a second of one run over `work`: options that name model and tars."""
    said = command.run(
        [sys.executable, "-m", "tests.benchmarks.filter.one", *options(row, given), *work],
        dict(os.environ) | {"OMP_NUM_THREADS": str(row.threads), "TQDM_DISABLE": "1"},
        log,
        given.limit,
    )
    return float(said.told["images"] / said.told["seconds"])


def options(row: Row, given: argparse.Namespace) -> Iterator[str]:
    """Those of `one` that are not the work's."""
    named = {"way": row.way, "processes": row.processes, "threads": row.threads}
    named |= {"batch": given.batch, "device": given.device, "precision": given.precision}
    named |= {"decoders" if row.way == "ours" else "workers": row.readers}
    for name, value in named.items():
        if value:
            yield from (f"--{name}", str(value))
    if row.images_alone:
        yield "--images-alone"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.filter.scoring",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, here = parser.add_argument, len(os.sched_getaffinity(0))
    add("--pool", type=Path, default=pictures.DEMO, help="a folder of tars (default: the demo's)")
    add("--models", nargs="+", default=["ViT-B-32", models.DEMO], help="`demo`, or open_clip's")
    add("--cores", nargs="+", type=int, default=sorted({1, here}), help="tables (default 1, all)")
    add("--batch", type=int, default=BATCH, help=f"images in a forward pass (default {BATCH})")
    add(
        "--tars",
        type=int,
        default=TARS,
        help=f"that hold the images (default {TARS})",
    )
    add("--images", type=int, help=f"of a pass (default {IMAGES}; {MOST[models.DEMO]} for `demo`)")
    add("--runs", type=int, default=3, help="timed runs of each row (default 3)")
    add("--only", nargs="+", metavar="WORD", help="only rows with one of these in their name")
    add("--limit", type=float, default=600, help="seconds after which a run failed (default 600)")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    kinds = ("float32", "float16", "bfloat16")
    add("--precision", choices=kinds, default="float32", help="of both (default float32)")
    add("--decoders", type=int, help="rows of one device that so many threads or workers feed")
    add("--json", type=Path, help="receives a line of JSON for each row, with every single run")
    add("--quick", action="store_true", help="a few drawings of the demo, its model, one run")
    return parser.parse_args()


def quick(given: argparse.Namespace) -> argparse.Namespace:
    """The least of everything."""
    least = {"models": [models.DEMO], "batch": 4, "images": 16, "runs": 1, "cores": [1]}
    return argparse.Namespace(**vars(given) | least)


def measure(
    model: str, rows: list[Row], folder: Path, given: argparse.Namespace
) -> tuple[int, dict[Row, list[float]]]:
    """Images of a pass, and images a second of each row, run by run."""
    most = given.images or MOST.get(model, IMAGES)
    tars, images = pictures.repack(given.pool, folder, given.tars, given.batch, most)
    name, log = models.write(model, folder / "model"), folder / "log"
    work = ["--model", name, "--images", str(images), "--tars", *tars]

    def run(turn: str, row: Row) -> float | None:
        what = f"{turn}: {row.name}, {row.processes} x {row.threads}, {row.readers} readers"
        found = comparison.tried(what, lambda: rate(row, work, given, log))
        if found is None and log.exists():
            print(log.read_text()[-1000:])
        return found

    return images, comparison.alternating(rows, given.runs, run)


def report(model: str, cores: int, here: set[int], given: argparse.Namespace) -> None:
    """Measures on the first so many cores of this machine, and prints the table."""
    every = on_gpu(given.decoders) if given.decoders else on_cores(cores)
    rows = [row for row in every if asked(row, given.only)]
    os.sched_setaffinity(0, sorted(here)[:cores])
    with tempfile.TemporaryDirectory(prefix="scoring-") as folder:
        images, found = measure(model, rows, Path(folder), given)
    where = f"{given.device}, {cores} cores, batch {given.batch}, {images} images"
    print(
        f"\n{model}, {given.precision}, {where}\n",
        *table(found, given.device),
        sep="\n",
        flush=True,
    )
    if given.json:
        said = {
            "model": model,
            "precision": given.precision,
            "device": given.device,
            "cores": cores,
        }
        lines = [said | row._asdict() | {"rates": rates} for row, rates in found.items()]
        with given.json.open("a") as file:
            file.writelines(json.dumps(one) + "\n" for one in lines)


def main() -> None:
    given = arguments()
    given = quick(given) if given.quick else given
    here = os.sched_getaffinity(0)
    for model in given.models:
        for cores in [len(here)] if given.decoders else given.cores:
            report(model, cores, here, given)


if __name__ == "__main__":
    main()
