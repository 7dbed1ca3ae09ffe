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

import json
import os
import shutil
from dataclasses import asdict
from functools import partial

from .. import comparison
from . import measure, rows, table

NAME = "throughput"


def main() -> None:
    given = comparison.parser(NAME, __doc__).parse_args()
    todo = comparison.chosen(given, {row.name: row for row in rows.ROWS}, rows.missing)
    if given.list:
        return
    facts, work = comparison.begin(given, NAME)

    def once(number: str, row: rows.Row) -> measure.Result | None:
        out, log = work / "out", work / f"{rows.ROWS.index(row):02d}.log"
        line = rows.command(row, given.peers, given.pool, out)
        env = rows.environment(row, given.peers)
        run = partial(measure.run, line, env, out, log, given.limit)
        result = comparison.tried(f"{number}  {row.name}", run)
        shutil.rmtree(out, ignore_errors=True)
        return result

    results = comparison.alternating(todo, given.runs, once)
    images, cores = facts["images"], len(os.sched_getaffinity(0))
    print(f"\npool: {facts}\nlogs: {work}\n")
    print("\n".join(table.lines(results, images, cores)))
    print("\n" + "\n".join(table.summary(results, images, cores)))
    if given.json:
        said = [{"row": row.name, "runs": [asdict(r) for r in results[row]]} for row in results]
        given.json.write_text(json.dumps({"pool": facts, "rows": said}, indent=1) + "\n")


if __name__ == "__main__":
    main()
