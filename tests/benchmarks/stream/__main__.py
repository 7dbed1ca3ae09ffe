"""Images a second from shards to batches, and what it takes to go on: headrace and its peers.

    tests/benchmarks/stream/install.sh PEERS                  once: an environment for each peer
    python -m tests.benchmarks.throughput.pool --out POOL --side 256 --images 20000        once
    python -m tests.benchmarks.stream --pool POOL --peers PEERS --runs 5

Every tool decodes each image in full, crops it at random to 224 pixels, mirrors half of them and
gives batches of 256 as uint8. Two workers, the same two cores, the same Pillow, no draft mode, but
for the rows that say otherwise. The runs alternate: each tool once, then all again in the opposite
order. Nothing else should run beside it. README.md says what is timed and where the peers differ.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from .. import command
from . import measure, rows, shuffle, table
from .rows import FAR, OURS, ROWS, Row

T = TypeVar("T")
PARTS = ("convert", "look", "speed", "resume", "elastic")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.stream",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--pool", type=Path, required=True, help="what throughput.pool wrote")
    add("--peers", type=Path, required=True, help="what stream/install.sh wrote")
    add("--runs", type=int, default=5, help="timed runs of each row (default 5)")
    add("--batch", type=int, default=256, help="images in a batch (default 256)")
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default all)")
    add("--only", nargs="+", metavar="WORD", help="only rows with one of these in their name")
    add("--cores", default="0,1", help="processors to use, as numbers (default 0,1)")
    add("--limit", type=float, default=180, help="seconds after which a run failed (default 180)")
    add("--work", type=Path, help="scratch folder, on a local disk (default: a temporary one)")
    add("--json", type=Path, help="where to write every single run")
    add("--list", action="store_true", help="name the rows, run nothing")
    return parser.parse_args()


def chosen(given: argparse.Namespace) -> list[Row]:
    """The rows that can run; says why of each that cannot."""
    found = []
    for row in [*ROWS, FAR]:
        if given.only and not any(word.lower() in row.tool.lower() for word in given.only):
            continue
        why = rows.missing(row, given.peers)
        if why or given.list:
            print(f"{row.tool}: {why or 'ready'}", flush=True)
        if not why:
            found.append(row)
    return found


def tried(what: str, row: Row, call: Callable[[], T]) -> T | None:
    """What `call` returns; None, and a line that says why, where it failed."""
    try:
        result = call()
    except (command.Failed, ValueError, KeyError, IndexError) as error:
        print(f"{what}  {row.tool}: {error or type(error).__name__}", flush=True)
        return None
    print(f"{what}  {row.tool}", flush=True)
    return result


def run_all(bench: measure.Bench, todo: list[Row], parts: list[str], runs: int) -> table.Results:
    """All that is asked for. A row that fails once in a part is not run again in it."""
    results = table.Results()
    if "convert" in parts:
        for row in [row for row in todo if row.converts]:
            if made := tried("convert", row, partial(measure.convert, bench, row)):
                results.conversions[row] = made
    if "look" in parts:
        look_all(bench, todo, results)
    if "speed" in parts:
        results.epochs = time_all(bench, [row for row in todo if row is not FAR], runs)
    if "resume" in parts:
        for row in [row for row in todo if row.resumes or row is FAR]:
            if seconds := tried("resume", row, partial(measure.resume, bench, row, runs)):
                results.resumes[row] = seconds
    if "elastic" in parts:
        for row in [row for row in todo if row.resumes]:
            if outcome := tried("elastic", row, partial(measure.elastic, bench, row)):
                results.elastic[row] = outcome
    return results


def look_all(bench: measure.Bench, todo: list[Row], results: table.Results) -> None:
    """Memory and shuffle of each row that gives batches."""
    for row in [row for row in todo if row.reads and row is not FAR]:
        if found := tried("look", row, partial(measure.look, bench, row)):
            results.peaks[row] = found.peak
            results.qualities[row] = shuffle.quality(found.keys)
            if row.tool == OURS:
                results.perfect = shuffle.perfect(found.keys)


def time_all(bench: measure.Bench, todo: list[Row], runs: int) -> dict[Row, list[measure.Epoch]]:
    """Timed epochs, by row and in the order of the table."""
    found: dict[Row, list[measure.Epoch]] = {row: [] for row in todo}
    failed = set()
    for number in range(runs):
        for row in todo if number % 2 == 0 else reversed(todo):
            if row in failed:
                continue
            epoch = tried(f"run {number + 1}", row, partial(measure.epoch, bench, row))
            if epoch:
                found[row].append(epoch)
            else:
                failed.add(row)
    return {row: epochs for row, epochs in found.items() if epochs}


def by_tool(results: table.Results) -> dict[str, Any]:
    """For JSON."""
    parts = {one.name: getattr(results, one.name) for one in fields(results)}
    perfect = parts.pop("perfect")
    named = {name: {row.tool: found for row, found in part.items()} for name, part in parts.items()}
    return named | {"perfect": perfect}


def main() -> None:
    given = arguments()
    todo = chosen(given)
    if given.list:
        return
    os.sched_setaffinity(0, [int(core) for core in given.cores.split(",")])
    command.adopt_orphans()
    facts = json.loads((given.pool / "pool.json").read_text())
    work = (given.work or Path(tempfile.mkdtemp(prefix="stream-"))).absolute()
    (work / "data").mkdir(parents=True, exist_ok=True)
    bench = measure.Bench(
        given.peers.absolute(),
        given.pool.absolute(),
        work,
        given.batch,
        facts["images"] // given.batch,
        given.limit,
    )
    results = run_all(bench, todo, given.parts, given.runs)
    print(f"\npool: {facts}\nlogs: {work}\n")
    print("\n\n".join(table.tables(results)))
    if given.json:
        said = {"pool": facts, **by_tool(results)}
        given.json.write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()
