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
from dataclasses import fields
from functools import partial
from typing import Any

from .. import comparison
from ..comparison import tried
from . import measure, rows, s3, shuffle, table
from .rows import FAR, OURS, ROWS, Row

NAME = "stream"
PARTS = ("convert", "look", "speed", "resume", "elastic", "s3")


def arguments() -> argparse.Namespace:
    parser = comparison.parser(NAME, __doc__)
    add = parser.add_argument
    add("--batch", type=int, default=256, help="images in a batch (default 256)")
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default all)")
    return parser.parse_args()


def run_all(bench: measure.Bench, todo: list[Row], parts: list[str], runs: int) -> table.Results:
    """All that is asked for. A row that fails once in a part is not run again in it."""
    results = table.Results()
    if "convert" in parts:
        for row in [row for row in todo if row.converts]:
            if made := tried(f"convert  {row.tool}", partial(measure.convert, bench, row)):
                results.conversions[row] = made
    if "look" in parts:
        look_all(bench, todo, results)
    if "speed" in parts:
        results.epochs = time_all(bench, [row for row in todo if row is not FAR], runs)
    if "resume" in parts:
        for row in [row for row in todo if row.resumes or row is FAR]:
            if seconds := tried(f"resume  {row.tool}", partial(measure.resume, bench, row, runs)):
                results.resumes[row] = seconds
    if "elastic" in parts:
        for row in [row for row in todo if row.resumes]:
            if outcome := tried(f"elastic  {row.tool}", partial(measure.elastic, bench, row)):
                results.elastic[row] = outcome
    if "s3" in parts:
        store_all(bench, [row for row in todo if row.reads_s3], results)
    return results


def look_all(bench: measure.Bench, todo: list[Row], results: table.Results) -> None:
    """Memory and shuffle of each row that gives batches."""
    for row in [row for row in todo if row.reads and row is not FAR]:
        if found := tried(f"look  {row.tool}", partial(measure.look, bench, row)):
            results.peaks[row] = found.peak
            results.qualities[row] = shuffle.quality(found.keys)
            if row.tool == OURS:
                results.perfect = shuffle.perfect(found.keys)


def time_all(bench: measure.Bench, todo: list[Row], runs: int) -> dict[Row, list[measure.Epoch]]:
    """Timed epochs, by row and in the order of the table."""

    def once(number: str, row: Row) -> measure.Epoch | None:
        return tried(f"{number}  {row.tool}", partial(measure.epoch, bench, row))

    return comparison.alternating(todo, runs, once)


def store_all(bench: measure.Bench, todo: list[Row], results: table.Results) -> None:
    """One epoch of each row, of what an S3 server on this machine holds."""
    with s3.serving():
        s3.upload(bench.pool / "tars")
        for row in todo:
            s3.upload(bench.data(row))
            call = partial(measure.from_store, bench, row, s3.URL)
            if epoch := tried(f"s3  {row.tool}", call):
                results.stored[row] = epoch


def by_tool(results: table.Results) -> dict[str, Any]:
    """For JSON."""
    parts = {one.name: getattr(results, one.name) for one in fields(results)}
    perfect = parts.pop("perfect")
    named = {name: {row.tool: found for row, found in part.items()} for name, part in parts.items()}
    return named | {"perfect": perfect}


def main() -> None:
    given = arguments()
    todo = comparison.chosen(given, {row.tool: row for row in [*ROWS, FAR]}, rows.missing)
    if given.list:
        print(f"parts: {', '.join(PARTS)}")
        return
    facts, work = comparison.begin(given, NAME)
    batches = facts["images"] // given.batch
    bench = measure.Bench(given.peers, given.pool, work, given.batch, batches, given.limit)
    results = run_all(bench, todo, given.parts, given.runs)
    print(f"\npool: {facts}\nlogs: {work}\n")
    print("\n\n".join(table.tables(results)))
    if given.json:
        said = {"pool": facts, **by_tool(results)}
        given.json.write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()
