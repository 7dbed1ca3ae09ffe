"""Images per second per core, from a pool of JPEGs to WebDataset shards: headrace and its peers.

    tests/benchmarks/throughput/install.sh PEERS                  once: an environment for each peer
    python -m tests.benchmarks.throughput.pool --out POOL --images 8192      once: 1.2 GB
    python -m tests.benchmarks.throughput --pool POOL --peers PEERS --runs 3

Every tool reads, decodes and hashes each image, drops those with a side under 200 pixels and writes
the others as tars: their own bytes, or encoded anew at 256 pixels. All have the same Pillow and no
draft mode, but the rows that say "own way"; img2dataset alone hashes nothing, but in its rows "then
hash". The runs alternate: each tool once, then all again in the opposite order. Everything runs on
the same two cores. Nothing else should run beside it. README.md says what is timed and where the
peers differ.
"""

import argparse
import json
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from .. import command
from . import measure, rows, table


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--pool", type=Path, required=True, help="what throughput.pool wrote")
    add("--peers", type=Path, required=True, help="what throughput/install.sh wrote")
    add("--runs", type=int, default=5, help="runs of each row (default 5)")
    add("--only", nargs="+", metavar="WORD", help="only rows with one of these in tool or job")
    add("--cores", default="0,1", help="processors to use, as numbers (default 0,1)")
    add("--limit", type=float, default=180, help="seconds after which a run failed (default 180)")
    add("--work", type=Path, help="scratch folder, on a local disk (default: a temporary one)")
    add("--json", type=Path, help="where to write every single run")
    add("--list", action="store_true", help="name the rows, run nothing")
    return parser.parse_args()


def chosen(given: argparse.Namespace) -> list[rows.Row]:
    """The rows that can run; says why of each that cannot."""
    found = []
    for row in rows.ROWS:
        if given.only and not any(word.lower() in row.name.lower() for word in given.only):
            continue
        why = rows.missing(row, given.peers)
        if why or given.list:
            print(f"{row.name}: {why or 'ready'}", flush=True)
        if not why:
            found.append(row)
    return found


def run_all(given: argparse.Namespace, todo: list[rows.Row], work: Path) -> dict:
    """Results by row, in the order of the table. A row that fails once is not run again."""
    results: dict[rows.Row, list[measure.Result]] = {row: [] for row in todo}
    failed = set()
    for number in range(given.runs):
        for row in todo if number % 2 == 0 else reversed(todo):
            if row in failed:
                continue
            log = work / f"{rows.ROWS.index(row):02d}.log"
            out = work / "out"
            line = rows.command(row, given.peers.absolute(), given.pool.absolute(), out)
            env = rows.environment(row, given.peers.absolute())
            try:
                result = measure.run(line, env, out, log, given.limit)
            except (command.Failed, ValueError, KeyError, IndexError) as error:
                print(f"run {number + 1}  {row.name}: {error}", flush=True)
                failed.add(row)
                continue
            results[row].append(result)
            print(f"run {number + 1}  {row.name}: {result.steady:.2f} s", flush=True)
            shutil.rmtree(out, ignore_errors=True)
    return {row: found for row, found in results.items() if found}


def main() -> None:
    given = arguments()
    todo = chosen(given)
    if given.list:
        return
    cores = [int(core) for core in given.cores.split(",")]
    os.sched_setaffinity(0, cores)
    command.adopt_orphans()
    facts = json.loads((given.pool / "pool.json").read_text())
    work = given.work or Path(tempfile.mkdtemp(prefix="throughput-"))
    work.mkdir(parents=True, exist_ok=True)
    results = run_all(given, todo, work)
    print(f"\npool: {facts}\nlogs: {work}\n")
    print("\n".join(table.lines(results, facts["images"], len(cores))))
    print("\n" + "\n".join(table.summary(results, facts["images"], len(cores))))
    if given.json:
        rows_json = [
            {"row": row.name, "runs": [asdict(r) for r in results[row]]} for row in results
        ]
        given.json.write_text(json.dumps({"pool": facts, "rows": rows_json}, indent=1) + "\n")


if __name__ == "__main__":
    main()
